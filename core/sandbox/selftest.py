"""Real attacks, run in a locked child when the zygote starts: what they reach decides the level.

They are a subset of the suite's files (`core.sandbox.attacks`), so what a worker claims of its wall is
what is tested.  The levels stand in `outcomes.Isolation`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from core.sandbox.attacks import (
    case_01_environment_secrets,
    case_02_environment_of_the_parent,
    case_03_world_readable_file,
    case_05_shared_temp,
    case_06_shared_memory_folder,
    case_11_folders,
    case_12_processes,
    case_17_tcp,
    case_18_mptcp,
    case_19_udp,
    case_20_abstract_socket,
    case_21_unix_socket,
    case_25_fork_bomb,
    case_27_exec,
    case_29_signal_the_parent,
    case_31_trace_the_parent,
    case_32_memory_of_the_parent,
    case_35_own_limits,
    case_36_limits_of_the_parent,
    case_38_user_namespace,
    case_40_io_uring,
    case_47_shared_memory,
    case_48_memory_files,
)
from core.sandbox.attacks.case import Target, attempt
from core.sandbox.frames import Channel, ChannelClosed, FrameTimeout, Link
from core.sandbox.jailed import Order, fork
from core.sandbox.limits import MIB, Limits
from core.sandbox.lock import Jail, first_slot
from core.sandbox.outcomes import Isolation

FULL, WITHOUT_FILES, NONE = 3, 1, 0

CASES = tuple(
    module.CASE
    for module in (
        case_01_environment_secrets,
        case_02_environment_of_the_parent,
        case_03_world_readable_file,
        case_05_shared_temp,
        case_06_shared_memory_folder,
        case_11_folders,
        case_12_processes,
        case_17_tcp,
        case_18_mptcp,
        case_19_udp,
        case_20_abstract_socket,
        case_21_unix_socket,
        case_25_fork_bomb,
        case_29_signal_the_parent,
        case_31_trace_the_parent,
        case_32_memory_of_the_parent,
        case_35_own_limits,
        case_36_limits_of_the_parent,
        case_38_user_namespace,
        case_40_io_uring,
        case_47_shared_memory,
        case_48_memory_files,
    )
)
"""The start-up subset: one for each part of the wall, quick, and harmless where it succeeds."""

LAST_CASE = case_27_exec.CASE
"""Where it succeeds, nobody is left to tell."""

_LIMITS = Limits(wall_seconds=5, cpu_seconds=5, memory_bytes=128 * MIB)
_MEMORY_FOLDER = "/dev/shm"


def measure_isolation(jail: Jail, inherited: Sequence[str] = ()) -> Isolation:
    """Attack from inside a locked child and report what succeeded.  Takes well under 0.3 s.

    Args:
        jail:      how the child is locked.
        inherited: names of variables that this process has from the worker and should not have.
    """
    folder = Path(tempfile.mkdtemp(prefix="selftest-"))
    try:
        folder.chmod(0o755)
        secret = folder / "secret"
        secret.write_text("secret", encoding="ascii")
        secret.chmod(0o644)
        target = Target(str(secret), token=folder.name, inherited=tuple(inherited))
        reached = _attack_from_child(jail, target)
        for spoiled in (target.shared, _MEMORY_FOLDER):
            Path(spoiled, f"{target.token}-spoil").unlink(missing_ok=True)
        return _judge(reached)
    finally:
        shutil.rmtree(folder)


def _judge(reached: tuple[str, ...]) -> Isolation:
    if not reached:
        return Isolation(FULL)
    files = {case.name for case in CASES if case.family == "files"}
    return Isolation(WITHOUT_FILES if files.issuperset(reached) else NONE, reached)


def _attack_from_child(jail: Jail, target: Target) -> tuple[str, ...]:
    ours, theirs = socket.socketpair()
    errors_out, errors_in = os.pipe()
    streams = (theirs.fileno(), errors_in)
    order = Order(attack_everything, _LIMITS, first_slot(os.getpid()), streams)
    pid, fault = fork(order, jail, forget=ours.close)
    theirs.close()
    os.close(errors_in)
    channel = Channel(ours)
    try:
        return (f"lock: {fault}",) if fault else _verdict(channel, target)
    finally:
        channel.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(errors_out)


def _verdict(channel: Channel, target: Target) -> tuple[str, ...]:
    channel.send({"target": asdict(target)})
    deadline = time.monotonic() + _LIMITS.wall_seconds
    try:
        reached = channel.receive(deadline).header["reached"]
    except (ChannelClosed, FrameTimeout):
        return ("the attacks did not report back",)
    try:
        channel.receive(deadline)
    except (ChannelClosed, FrameTimeout):  # another program knows nothing of this channel
        reached.append(LAST_CASE.name)
    return tuple(reached)


def attack_everything(channel: Channel, links: list[Link]) -> None:
    """Entry of the child: send which attacks got through, then say that it is still itself."""
    target = Target(**channel.receive().header["target"])
    channel.send({"reached": [c.name for c in CASES if attempt(c, target) == "reached"]})
    attempt(LAST_CASE, target)
    channel.send({"still": "here"})
