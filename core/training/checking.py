"""The parent's side of a check: one short-lived child, and every way it can end as a sentence."""

from __future__ import annotations

import math
from typing import Any

from core.errors import ProgramRejected, SandboxFailed
from core.ports import Artifacts
from core.records.measured import Preflight
from core.records.programs import Program, ProgramShape
from core.sandbox import GIB, MIB, Child, ChildFailed, ChildTimedOut, Frame, Limits, Sandbox
from core.training.runtime import MOST_COMPONENTS, MOST_FEATURES
from core.training.wire import program_to_json, rejection_from_json, space_to_json

ENTRY = "core.training.check:check"
LIMITS = Limits(
    wall_seconds=10.0,
    cpu_seconds=10,
    memory_bytes=GIB,
    result_bytes=128 * MIB,  # of the probe set on its way in, above all
    stderr_bytes=MIB,
    threads=8,
    niceness=0,  # tens of milliseconds, for which a whole iteration waits
)


def check_program(
    sandbox: Sandbox,
    artifacts: Artifacts,
    program: Program,
    preflight: Preflight,
    limits: Limits = LIMITS,
) -> ProgramShape:
    """Hold a program to the contract in a child of its own.

    Raises:
        ProgramRejected: a rule is broken, or the child did not survive the program.
        SandboxFailed: the sandbox itself is broken.
    """
    order = {"program": program_to_json(program), "space": space_to_json(preflight)}
    with sandbox.spawn(ENTRY, limits) as child:
        visited = ["the start"]
        try:
            child.send(order, {"probe": artifacts.get(preflight.probe)})
            return _verdict(_last_frame(child, visited))
        except ChildFailed as error:
            raise _fatal(error, visited[-1], limits) from error


def _last_frame(child: Child, visited: list[str]) -> Frame:
    while (frame := child.receive()).header.get("kind") == "stage":
        visited.append(str(frame.header.get("stage"))[:80])
    return frame


def _verdict(frame: Frame) -> ProgramShape:
    if frame.header.get("kind") == "rejected":
        raise rejection_from_json(frame.header)
    header = frame.header
    cost = header.get("microseconds_per_row")
    if not isinstance(cost, float) or cost < 0:
        raise SandboxFailed("no measured speed", expected="the verdict of a check")
    return ProgramShape(
        _names(header.get("components"), MOST_COMPONENTS),
        _names(header.get("features"), MOST_FEATURES),
        cost,
        _pair(header.get("at_random")),
    )


def _pair(found: Any) -> tuple[float, float] | None:
    """Read two finite numbers from a child in which generated code ran; None for anything else."""
    good = isinstance(found, list) and [type(n) for n in found] == [float, float]
    if not good or not all(math.isfinite(n) for n in found):
        return None
    return found[0], found[1]


def _names(found: Any, most: int) -> tuple[str, ...]:
    """Read names from a child in which generated code ran: they will stand in prompts and pages."""
    good = isinstance(found, list) and len(found) <= most
    if not good or not all(isinstance(n, str) and n.isidentifier() for n in found):
        raise SandboxFailed("no list of names", expected="the verdict of a check")
    return tuple(found)


def _fatal(error: ChildFailed, stage: str, limits: Limits) -> ProgramRejected:
    if isinstance(error, ChildTimedOut):
        return ProgramRejected(
            f"no end after {limits.wall_seconds:g} s",
            rule="time",
            expected="every call to return within milliseconds",
            where=stage,
            hint="Remove endless or slow loops; use NumPy operations on whole arrays.",
        )
    return ProgramRejected(
        f"the end of the process ({_how(error)})",
        rule="exit",
        expected="functions that return arrays",
        where=stage,
        hint="Compute from the arguments alone; use little memory; touch nothing else.",
    )


def _how(error: ChildFailed) -> str:
    return error.exit.sentence() if error.exit is not None else error.found[:200]
