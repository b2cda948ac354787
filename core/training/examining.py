"""The parent's side of an examination: a report of what an arm's program did in recorded episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from core.ports import Artifacts, PackOrder, Progress, Watch
from core.records import Curve, Json, Program, Report, TermStatistics
from core.sandbox import GIB, ChildFailed, Frame, Limits, Sandbox
from core.training.attending import next_frame
from core.training.measuring import Measured
from core.training.runtime import MOST_COMPONENTS, MOST_FEATURES
from core.training.wire import program_to_json, space_to_json

ENTRY = "core.training.examine:examine"
_NUMBERS = ("mean", "std", "low", "high", "share", "saturated", "zero")
LIMITS = Limits(wall_seconds=60.0, cpu_seconds=60, memory_bytes=2 * GIB)


def examine_arm(
    sandbox: Sandbox,
    artifacts: Artifacts,
    order: PackOrder,
    program: Program | None,
    measured: Measured,
    watch: Watch,
    progress: Progress,
) -> Report:
    """Describe the recorded episodes of an arm; without terms if the program breaks on them."""
    if measured.recording is None:
        return Report()
    header = {"program": program_to_json(program), "space": space_to_json(order.preflight)}
    with sandbox.spawn(ENTRY, LIMITS) as child:
        try:
            child.send(header, {"recording": measured.recording})
            frame = next_frame(child, watch, progress)
        except ChildFailed:
            return Report()  # the fitness stands; only the words about it are missing
    return _read(frame, artifacts) if frame.header.get("kind") == "report" else Report()


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


def _read(frame: Frame, artifacts: Artifacts) -> Report:
    header = frame.header
    return Report(
        components=_terms(header.get("components"), MOST_COMPONENTS),
        features=_terms(header.get("features"), MOST_FEATURES),
        episodes=_episodes(header.get("episodes")),
        transitions=artifacts.put(frame.blobs["evidence"]) if "evidence" in frame.blobs else None,
    )


def _terms(found: Any, most: int) -> dict[str, TermStatistics]:
    """Read statistics from a child in which generated code ran; what is malformed is left out."""
    if not isinstance(found, Mapping) or len(found) > most:
        return {}
    return {
        name: term
        for name, one in found.items()
        if name.isidentifier() and (term := _term(one)) is not None
    }


def _term(found: Any) -> TermStatistics | None:
    if not isinstance(found, Mapping):
        return None
    numbers: list[Any] = [found.get(name) for name in _NUMBERS]
    correlation = found.get("correlation")
    if not all(_is_number(number) for number in (*numbers, correlation or 0.0)):
        return None
    mean, std, low, high, share, saturated, zero = numbers
    return TermStatistics(mean, std, low, high, share, saturated, zero, correlation)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _episodes(found: Any) -> dict[str, tuple[Json, ...]]:
    if not isinstance(found, Mapping):
        return {}
    return {
        name: tuple(row for row in found.get(name, ()) if isinstance(row, Mapping))
        for name in ("best", "median", "worst")
    }
