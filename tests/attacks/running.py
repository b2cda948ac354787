"""Carries out the attacks on the wall and on the channel, in children of a real zygote."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from core.sandbox import MIB, Child, ChildFailed, Limits, Sandbox, ZygoteFailed
from core.sandbox.attacks import Case, Target, attempt, every_case
from tests.attacks.cases import LIVES
from tests.attacks.ground import laid_out

PRELOAD = ("tests.attacks.jailed",)
LIMITS = Limits(wall_seconds=20, cpu_seconds=10, memory_bytes=256 * MIB, stderr_bytes=MIB)
SHORT = Limits(wall_seconds=0.4, cpu_seconds=10, memory_bytes=128 * MIB, stderr_bytes=MIB)
_GONE_SECONDS = 5.0


def run_walled() -> dict[str, str]:
    """Return case number -> outcome, and under "isolation" the level that the zygote found."""
    with laid_out() as (target, readable):
        sandbox = Sandbox(PRELOAD, import_paths=[readable])
        try:
            found = {
                "isolation": f"{sandbox.isolation.level} {json.dumps(sandbox.isolation.failed)}"
            }
            for case in every_case().values():
                found[str(case.number)] = _carry_out(sandbox, case, target, readable)
            for number, case in LIVES.items():
                for life in case.lives:
                    found[f"{number} {life}"] = live_out(sandbox, number, life)
        finally:
            sandbox.close()
    return found


def _carry_out(sandbox: Sandbox, case: Case, target: Target, readable: Path) -> str:
    if case.ends == "orphaned":
        return _orphan(case, target, readable)
    limits = SHORT if "ChildTimedOut" in case.must else LIMITS
    with sandbox.spawn("tests.attacks.jailed:attack_once", limits) as child:
        return _talk(child, case, target)


def _talk(child: Child, case: Case, target: Target) -> str:
    """Have the attack carried out; return what the child said, or how it was ended."""
    try:
        child.send({"number": case.number, "target": asdict(target)})
        outcome = str(child.receive().header["outcome"])
        if case.ends == "gone" and outcome == "reached":
            child.wait(_GONE_SECONDS)
            outcome = "gone" if has_gone(child.pid, _GONE_SECONDS) else "lives on"
    except ChildFailed as error:
        return type(error).__name__
    return outcome


def _orphan(case: Case, target: Target, readable: Path) -> str:
    """Kill the child's zygote, and see whether the child dies with it."""
    sandbox = Sandbox(PRELOAD, import_paths=[readable])
    try:
        with sandbox.spawn("tests.attacks.jailed:attack_once", LIMITS) as child:
            said = _talk(child, case, target)
            zygote = _parent_of(child.pid)
            os.kill(zygote, signal.SIGKILL)
            gone = has_gone(child.pid, _GONE_SECONDS)
            if not gone:
                os.kill(child.pid, signal.SIGKILL)
            return ("gone" if gone else "lives on") if said == "reached" else said
    finally:
        sandbox.close()


def live_out(sandbox: Sandbox, number: int, life: str) -> str:
    """Spawn a child that lives so; return its answer, or how it was ended and its last words."""
    limits = SHORT if LIVES[number].must[life] == "ChildTimedOut" else LIMITS
    with sandbox.spawn("tests.attacks.jailed:live", limits) as child:
        try:
            child.send({"number": number, "life": life})
            answer = f"answered {json.dumps(child.receive().header)}"
        except (ChildFailed, ZygoteFailed) as error:
            return f"{type(error).__name__}: {error.found}"
    return answer


def run_without_wall() -> dict[str, str]:
    """Carry out the same attacks in bare forks of this process: where they can, they get through."""
    with laid_out() as (target, _):
        cases = [case for case in every_case().values() if case.ends in {"refused", "allowed"}]
        return {str(case.number): _in_a_fork(lambda c=case: attempt(c, target)) for case in cases}


def _in_a_fork(work: Callable[[], str]) -> str:
    told, tell = os.pipe()
    if (pid := os.fork()) == 0:
        os.setsid()
        try:
            os.write(tell, work().encode())
        finally:
            os._exit(0)
    os.close(tell)
    with open(told, "rb") as words:
        said = words.read().decode()
    os.waitpid(pid, 0)
    return said or "reached"  # it has become another program, and says nothing


def judge(case: Case, outcome: str) -> str:
    """Return "refused", "allowed", or what went wrong."""
    kind, _, why = outcome.partition(": ")
    if case.ends == "allowed":
        return "allowed" if kind == "reached" else outcome
    if case.ends == "refused":
        good = kind == "refused" and why in case.must.split()
    else:
        good = kind in case.must.split()
    return "refused" if good else f"{outcome}; expected {case.must}"


def has_gone(pid: int, seconds: float) -> bool:
    """Wait for the end of a process that is not our child."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ready, _, _ = select.select([watched], [], [], seconds)
    os.close(watched)
    return bool(ready)


def _parent_of(pid: int) -> int:
    fields = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in fields if line.startswith("PPid:")))
