"""The parent's side of an examination: a report of what an arm's program did in recorded episodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from core.ports import Artifacts, PackOrder, Progress, Watch
from core.records.kinds import Json
from core.records.measured import Curve, Report, TermStatistics
from core.records.programs import Program
from core.sandbox import GIB, BadFrame, ChildFailed, Frame, Limits, Sandbox
from core.training.attending import next_frame
from core.training.blame import clean
from core.training.examine import EVIDENCE_ROWS, worth_of_episodes
from core.training.inputs import MOST_INPUTS, Examined, dimensions
from core.training.measuring import Measured
from core.training.runtime import MOST_COMPONENTS, MOST_FEATURES, is_name
from core.training.transitions import load_recording
from core.training.wire import (
    layout_from_json,
    program_to_json,
    rejection_from_json,
    space_to_json,
)

ENTRY = "core.training.examine:examine"
_NUMBERS = ("mean", "std", "low", "high", "share", "saturated", "zero")
_SOMETIMES = ("correlation", "smooth", "explains", "redundant", "used", "lipschitz")
LARGEST = 1e300  # far from where sums overflow
MOST_EXACT = 2**53  # beyond it, integers are kept as floats: no database takes them all
MOST_ROWS = 64
MOST_CELLS = 64
MOST_NUMBERS = 64
MOST_CELL_LETTERS = 200
MOST_REASON_LETTERS = 400
LIMITS = Limits(wall_seconds=60.0, cpu_seconds=60, memory_bytes=2 * GIB)


def examine_arm(
    sandbox: Sandbox,
    artifacts: Artifacts,
    order: PackOrder,
    program: Program | None,
    measured: Measured,
    policies: Sequence[bytes],
    watch: Watch,
    progress: Progress,
) -> Report:
    """Describe the recorded episodes of an arm; with the reason, and no terms, if that fails.

    `policies` are the weights of those that lived the episodes.
    """
    if measured.recording is None:
        return Report()
    space = space_to_json(order.preflight)
    header = {
        "program": program_to_json(program),
        "space": space,
        "action": dict(order.preflight.action),
        "fitness": asdict(order.task.fitness),
        "policies": len(policies),
    }
    weights = {f"weights.{number}": content for number, content in enumerate(policies)}
    with sandbox.spawn(ENTRY, LIMITS) as child:
        try:
            child.send(header, {"recording": measured.recording, **weights})
            frame = next_frame(child, watch, progress)
        except (BadFrame, ChildFailed) as error:  # the fitness stands; words about it are missing
            return Report(unexamined=clean(str(error), MOST_REASON_LETTERS))
    if frame.header.get("kind") != "report":
        reason = rejection_from_json(frame.header)
        return Report(unexamined=clean(str(reason), MOST_REASON_LETTERS))
    layout, recording = layout_from_json(space), load_recording(measured.recording)
    report = read_report(frame, artifacts, dimensions(layout), most_evidence(measured.recording))
    # What episodes were worth is the scorer's word, which no program may change.
    return replace(report, told=worth_of_episodes(Examined(layout, recording, order.task.fitness)))


def most_evidence(recording: bytes) -> int:
    """Return how many bytes evidence may have that was taken from a recording."""
    return len(recording) + 4 * MOST_COMPONENTS * EVIDENCE_ROWS + 2**16


def with_course(report: Report, curves: Sequence[Curve], steps: Sequence[int]) -> Report:
    """Add each component's mean at every measured checkpoint, averaged over the arm's runs."""
    components = {
        name: replace(term, by_checkpoint=_course(f"component.{name}", curves, steps))
        for name, term in report.components.items()
    }
    return replace(report, components=components)


def _course(series: str, curves: Sequence[Curve], steps: Sequence[int]) -> tuple[float, ...]:
    known = [curve for curve in curves if curve.steps and series in curve.series]
    if not known:
        return ()
    return tuple(float(np.mean([_value_at(c, series, step) for c in known])) for step in steps)


def _value_at(curve: Curve, series: str, step: int) -> float:
    """Return the last value known at a count of steps."""
    place = int(np.searchsorted(curve.steps, step, side="right")) - 1
    return curve.series[series][max(place, 0)]


def read_report(
    frame: Frame, artifacts: Artifacts, known: Collection[str] = (), most: int = 0
) -> Report:
    """Read what a child in which generated code ran says of an arm; what is malformed is left out.

    Args:
        frame:     of the child.
        artifacts: where evidence is put.
        known:     names of the observation's dimensions.
        most:      bytes that the evidence may have.
    """
    header, evidence = frame.header, frame.blobs.get("evidence", b"")
    return Report(
        components=_terms(header.get("components"), MOST_COMPONENTS),
        features=_terms(header.get("features"), MOST_FEATURES),
        inputs=_terms(header.get("inputs"), MOST_INPUTS, known),
        episodes=_episodes(header.get("episodes")),
        recorded=int(min(max(_number(header.get("recorded")) or 0, 0), MOST_EXACT)),
        transitions=artifacts.put(evidence) if 0 < len(evidence) <= most else None,
    )


def read_terms(frame: Frame, kind: str, count: int) -> dict[str, list[float]]:
    """Read what a child in which generated code ran says of each row; what is malformed is left out.

    Args:
        frame: of the child.
        kind:  components or features.
        count: of rows.
    """
    found = frame.header.get(kind)
    if not isinstance(found, Mapping) or len(found) > max(MOST_COMPONENTS, MOST_FEATURES):
        return {}
    read = {name: _numbers(values, count) for name, values in found.items() if is_name(name)}
    return {name: values for name, values in read.items() if values is not None}


def _numbers(found: Any, count: int) -> list[float] | None:
    if not isinstance(found, list) or len(found) != count:
        return None
    numbers = [number for one in found if (number := _number(one)) is not None]
    return numbers if len(numbers) == count else None


def _terms(
    found: Any, most: int, known: Collection[str] | None = None
) -> dict[str, TermStatistics]:
    """Read terms by name; names are identifiers, or those that are known."""
    if not isinstance(found, Mapping) or len(found) > most:
        return {}
    return {
        name: term
        for name, one in found.items()
        if (is_name(name) if known is None else name in known) and (term := _term(one)) is not None
    }


def _term(found: Any) -> TermStatistics | None:
    if not isinstance(found, Mapping):
        return None
    numbers = [_number(found.get(name)) for name in _NUMBERS]
    if any(number is None for number in numbers):
        return None
    mean, std, low, high, share, saturated, zero = (n for n in numbers if n is not None)
    others: dict[str, Any] = {name: _number(found.get(name)) for name in _SOMETIMES}
    return TermStatistics(mean, std, low, high, share, saturated, zero, **others)


def _number(value: Any) -> float | None:
    """Return a finite number as it is, None for anything else."""
    if type(value) not in (int, float) or not abs(value) < LARGEST:
        return None
    number: float = value if abs(value) <= MOST_EXACT else float(value)
    return number


def _episodes(found: Any) -> dict[str, tuple[Json, ...]]:
    if not isinstance(found, Mapping):
        return {}
    return {name: read_rows(found.get(name)) for name in ("best", "median", "worst")}


def read_rows(found: Any) -> tuple[Json, ...]:
    """Read rows of named values that a child in which generated code ran has put together."""
    if not isinstance(found, list):
        return ()
    read = [_row(row) for row in found[:MOST_ROWS] if isinstance(row, Mapping)]
    return tuple(row for row in read if row)


def _row(found: Mapping[str, Any]) -> Json:
    """Build a row anew from what a cell may hold: text, a number, or a list of numbers."""
    cells = {
        clean(name, MOST_CELL_LETTERS): _cell(value)
        for name, value in list(found.items())[:MOST_CELLS]
    }
    return {name: value for name, value in cells.items() if value is not None}


def _cell(value: Any) -> str | float | list[float] | None:
    if isinstance(value, str):
        return clean(value, MOST_CELL_LETTERS)
    if not isinstance(value, list):
        return _number(value)
    numbers = [n for one in value[:MOST_NUMBERS] if (n := _number(one)) is not None]
    return numbers if len(numbers) == len(value) else None
