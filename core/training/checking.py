"""The parent's side of a check: one short-lived child, and every way it can end as a sentence."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

from core.errors import ProgramRejected
from core.ports import Artifacts, Checked, ScreenOrder, watch_nothing
from core.records.measured import Preflight
from core.records.programs import Program, ProgramShape
from core.sandbox import GIB, MIB, Child, ChildFailed, ChildTimedOut, Frame, Limits, Sandbox
from core.training.blame import printable
from core.training.runtime import MOST_COMPONENTS, MOST_FEATURES, is_name
from core.training.screening import ScreenDesk
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
SCREENING = replace(
    LIMITS, wall_seconds=30.0, cpu_seconds=30, memory_bytes=GIB + GIB // 2, result_bytes=256 * MIB
)
"""With the stored episodes of the screens before the check, and their numbers after it."""
START = "the start"
LARGEST_MICROSECONDS = 1e6  # per row: far beyond what the check lets pass


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
    with sandbox.spawn(ENTRY, limits) as child:
        try:
            child.send(_order(program, preflight), {"probe": artifacts.get(preflight.probe)})
        except ChildFailed as error:
            raise _fatal(error, START, limits) from error
        return _hear(child, limits)


def check_and_screen(
    sandbox: Sandbox,
    artifacts: Artifacts,
    key: str,
    order: ScreenOrder,
    limits: Limits = LIMITS,
) -> Checked:
    """Hold one program of an order to the contract, and go on to its numbers in the same child.

    Where the child breaks over these, they are left to whoever asks for them next; and where it cannot
    read the stored episodes, that is not the program's fault.  `limits` are those of the check, whose
    time begins when the episodes are read.

    Raises:
        ProgramRejected, SandboxFailed: as `check_program`.
    """
    program, desk = order.programs[key], ScreenDesk(order, watch_nothing)
    asked, blobs = _order(program, order.preflight), desk.blobs(artifacts)
    with sandbox.spawn(ENTRY, SCREENING) as child:
        try:
            child.send({**asked, "screens": desk.header([key])}, blobs)
            store = desk.read_store(child)
        except ChildFailed:
            store = None
        if store is not None:
            shape = _hear(child, limits)
            try:
                numbers = desk.read_numbers(child, [key], store)
            except ChildFailed:
                return Checked(shape)
            return Checked(shape, desk.screening(store, numbers))
    return Checked(check_program(sandbox, artifacts, program, order.preflight, limits))


def _order(program: Program, preflight: Preflight) -> dict[str, Any]:
    return {"program": program_to_json(program), "space": space_to_json(preflight)}


def _hear(child: Child, limits: Limits) -> ProgramShape:
    visited, until = [START], time.monotonic() + limits.wall_seconds
    try:
        frame = child.receive(limits.wall_seconds)
        while frame.header.get("kind") == "stage":
            visited.append(printable(str(frame.header.get("stage")), 80))
            frame = child.receive(max(0.0, until - time.monotonic()))
    except ChildFailed as error:
        raise _fatal(error, visited[-1], limits) from error
    return _verdict(frame)


def _verdict(frame: Frame) -> ProgramShape:
    if frame.header.get("kind") == "rejected":
        raise rejection_from_json(frame.header)
    header = frame.header
    cost = header.get("microseconds_per_row")
    if not isinstance(cost, float) or not 0 <= cost <= LARGEST_MICROSECONDS:
        raise _forged("no measured speed")
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
    if not good or not all(isinstance(n, str) and is_name(n) for n in found):
        raise _forged("no list of names")
    if len(set(found)) < len(found):
        raise _forged("a name that is there twice")
    return tuple(found)


def _forged(found: str) -> ProgramRejected:
    """Blame the program for a verdict that no honest check gives: nobody else was in the process."""
    return ProgramRejected(
        f"{found} in the verdict",
        rule="runtime",
        expected="a program that leaves its process alone",
        hint="Compute from the arguments alone; touch nothing else.",
    )


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
