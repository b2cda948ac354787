"""Real attacks, run in a locked child when the zygote starts: what they reach decides the level.

The levels stand in `outcomes.Isolation`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from core.sandbox.frames import Channel, ChannelClosed, FrameTimeout, Link
from core.sandbox.jailed import Order, fork
from core.sandbox.limits import GIB, MIB, Limits
from core.sandbox.lock import Jail, first_slot
from core.sandbox.outcomes import Isolation

FULL, WITHOUT_FILES, NONE = 3, 1, 0

_LIMITS = Limits(wall_seconds=5, cpu_seconds=5, memory_bytes=128 * MIB)
_WRITABLE_FOLDERS = ("/tmp", "/dev/shm")
_IPPROTO_MPTCP = 262
_PTRACE_SEIZE = 0x4206


@dataclass(frozen=True, slots=True)
class _Target:
    """What the attacks aim at; laid out by the zygote before the lock."""

    secret: str
    parent: int
    address: int
    inherited: tuple[str, ...] = ()  # variables that came from the worker's environment


_Attack = Callable[[_Target], None]


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
        target = _target(secret, inherited)
        reached = _attack_from_child(jail, target)
        for writable in _WRITABLE_FOLDERS:
            _spoil(writable, target).unlink(missing_ok=True)
        return _judge(reached)
    finally:
        shutil.rmtree(folder)


def _judge(reached: tuple[str, ...]) -> Isolation:
    if not reached:
        return Isolation(FULL)
    only_files = all(name in _FILE_ATTACKS for name in reached)
    return Isolation(WITHOUT_FILES if only_files else NONE, reached)


def _attack_from_child(jail: Jail, target: _Target) -> tuple[str, ...]:
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


def _target(secret: Path, inherited: Sequence[str]) -> _Target:
    return _Target(str(secret), os.getpid(), id(_FILE_ATTACKS), tuple(inherited))


def _verdict(channel: Channel, target: _Target) -> tuple[str, ...]:
    channel.send({"target": asdict(target)})
    deadline = time.monotonic() + _LIMITS.wall_seconds
    try:
        reached = channel.receive(deadline).header["reached"]
    except (ChannelClosed, FrameTimeout):
        return ("the attacks did not report back",)
    try:
        channel.receive(deadline)
    except (ChannelClosed, FrameTimeout):  # another program knows nothing of this channel
        reached.append("become another program")
    return tuple(reached)


def attack_everything(channel: Channel, links: list[Link]) -> None:
    """Entry of the child: send which attacks got through, then say that it is still itself."""
    target = _Target(**channel.receive().header["target"])
    attacks = {**_FILE_ATTACKS, **_OTHER_ATTACKS}
    reached = [name for name, attack in attacks.items() if _gets_through(attack, target)]
    channel.send({"reached": reached})
    _gets_through(_become_another_program, target)
    channel.send({"still": "here"})


def _gets_through(attack: _Attack, target: _Target) -> bool:
    """An attack succeeds by returning; being refused raises."""
    try:
        attack(target)
    except (OSError, ValueError, MemoryError, LookupError):
        return False
    return True


def _read_a_file_of_others(target: _Target) -> None:
    Path(target.secret).read_bytes()


def _read_the_machine_name(target: _Target) -> None:
    Path("/etc/hostname").read_bytes()


def _read_the_parents_environment(target: _Target) -> None:
    Path(f"/proc/{target.parent}/environ").read_bytes()


def _list_the_root(target: _Target) -> None:
    os.listdir("/")


def _write_to(folder: str) -> _Attack:
    def write(target: _Target) -> None:
        _spoil(folder, target).touch()

    return write


def _spoil(folder: str, target: _Target) -> Path:
    """Return the file that an attack would leave; its name is as random as the secret's folder."""
    return Path(folder, f"{Path(target.secret).parent.name}-spoil")


def _open_socket(
    family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
) -> _Attack:
    return lambda target: socket.socket(family, kind, protocol).close()


def _fork(target: _Target) -> None:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _signal_the_parent(target: _Target) -> None:
    os.kill(target.parent, 0)


def _trace_the_parent(target: _Target) -> None:
    _libc_call("ptrace", _PTRACE_SEIZE, target.parent, 0, 0)


def _read_the_parents_memory(target: _Target) -> None:
    class Span(ctypes.Structure):
        _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))

    buffer = ctypes.create_string_buffer(8)
    local = Span(ctypes.addressof(buffer), 8)
    remote = Span(target.address, 8)
    _libc_call(
        "process_vm_readv", target.parent, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0
    )


def _libc_call(name: str, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, name, None)
    if call is None:
        raise OSError(f"there is no {name} here")
    call.restype = ctypes.c_long
    result: int = call(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def _find_a_secret_in_the_environment(target: _Target) -> None:
    if not set(target.inherited) & set(os.environ):
        raise LookupError("no secret was found")


def _raise_own_limits(target: _Target) -> None:
    unlimited = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_CPU, (unlimited, unlimited))


def _map_too_much(target: _Target) -> None:
    mmap.mmap(-1, _LIMITS.memory_bytes + 4 * GIB).close()


def _become_another_program(target: _Target) -> None:
    os.execv("/bin/true", ["true"])


def _use_io_uring(target: _Target) -> None:
    _libc_call("syscall", 425, 1, ctypes.create_string_buffer(128))


_FILE_ATTACKS: dict[str, _Attack] = {
    "read a world-readable file": _read_a_file_of_others,
    "read /etc/hostname": _read_the_machine_name,
    "read the parent's environment": _read_the_parents_environment,
    "list the root folder": _list_the_root,
    **{f"write to {folder}": _write_to(folder) for folder in _WRITABLE_FOLDERS},
}

_OTHER_ATTACKS: dict[str, _Attack] = {
    "open a TCP socket": _open_socket(socket.AF_INET, socket.SOCK_STREAM),
    "open a UDP socket": _open_socket(socket.AF_INET, socket.SOCK_DGRAM),
    "open an MPTCP socket": _open_socket(socket.AF_INET, socket.SOCK_STREAM, _IPPROTO_MPTCP),
    "open a unix socket": _open_socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "fork": _fork,
    "signal the parent": _signal_the_parent,
    "trace the parent": _trace_the_parent,
    "read the parent's memory": _read_the_parents_memory,
    "use io_uring": _use_io_uring,
    "find a secret in the environment": _find_a_secret_in_the_environment,
    "raise its own limits": _raise_own_limits,
    "map more memory than allowed": _map_too_much,
}
