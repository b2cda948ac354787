"""From runs to a comparison: whole lists, medians, intervals and the chance to be better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, TypeAlias

import numpy as np

from bench.trainer.tables import table
from core.records.outcome import Interval
from core.statistics import (
    bootstrap_interval,
    difference_interval,
    iqm,
    probability_of_improvement,
)

Cell: TypeAlias = dict[str, Any]
Compared: TypeAlias = dict[str, Any]

MEASURES = {
    "trained": "last 100 training episodes",
    "evaluated": "evaluation without chance",
}
_QUARTERS = (4, 9, 14, 19)


def compare(cells: Iterable[Cell]) -> list[Compared]:
    """Return one comparison per setup, number of steps, and backend of ours, where both sides ran."""
    runs: dict[tuple[str, int, str | None, str], list[Cell]] = {}
    for cell in cells:
        key = cell["key"]
        runs.setdefault((key["setup"], key["steps"], key["backend"], key["side"]), []).append(cell)
    return [
        _compared(name, steps, backend, ours, runs[name, steps, None, "sb3"])
        for (name, steps, backend, side), ours in runs.items()
        if side == "ours" and (name, steps, None, "sb3") in runs
    ]


def _compared(
    name: str, steps: int, backend: str | None, ours: list[Cell], theirs: list[Cell]
) -> Compared:
    compared: Compared = {
        "setup": name,
        "steps": steps,
        "backend": backend,
        "date": max(cell["date"] for cell in ours)[:10],
        "seconds": {"ours": _seconds(ours), "sb3": _seconds(theirs)},
        "curves": {"ours": _curve(ours), "sb3": _curve(theirs)},
    }
    for measure in MEASURES:
        a, b = ([cell[measure] for cell in side] for side in (ours, theirs))
        compared[measure] = {
            "ours": _summary(a),
            "sb3": _summary(b),
            "difference": _interval(difference_interval(a, b)),
            "probability_of_improvement": round(probability_of_improvement(a, b), 3),
        }
    return compared


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {
        "runs": [round(value, 2) for value in sorted(values)],
        "median": round(median(values), 2),
        "iqm": round(iqm(values), 2),
        **_interval(bootstrap_interval(values)),
    }


def _interval(interval: Interval) -> dict[str, float]:
    return {
        "mean": round(interval.mean, 2),
        "low": round(interval.low, 2),
        "high": round(interval.high, 2),
    }


def _seconds(cells: list[Cell]) -> float:
    return round(median(cell["seconds"] for cell in cells), 1)


def _curve(cells: list[Cell]) -> list[float | None]:
    """Return the mean over runs in each twentieth of the training; None where no episode ended."""
    places = zip(*(cell["curve"] for cell in cells), strict=True)
    known = [[value for value in place if value is not None] for place in places]
    return [round(float(np.mean(values)), 2) if values else None for values in known]


def render(compared: Sequence[Compared], command: str) -> str:
    """Return the page docs/results/learning.md."""
    dates = sorted({one["date"] for one in compared})
    parts = [
        "# The trainer against Stable-Baselines3: learning\n",
        f"Measured: {' to '.join(dict.fromkeys((dates[0], dates[-1])))}, `{command}`. Both sides "
        "train on the same environment class for the same steps with the same settings "
        "(`bench/trainer/setups.py`); returns are undiscounted and native. Brackets are 95 % "
        "bootstrap intervals of the mean over runs; *chance*: that a run of ours is better than one "
        "of SB3's.\n",
    ]
    for measure, words in MEASURES.items():
        parts.append(f"## Mean return, {words}\n\n{_table(compared, measure)}")
    parts.append(f"## On the way: mean return of training episodes\n\n{_curves(compared)}")
    parts.append(f"## Every run, sorted\n\n{_lists(compared)}")
    return "\n".join(parts)


def _table(compared: Sequence[Compared], measure: str) -> str:
    heads = (
        *("setup", "steps", "runs ours, SB3", "ours: mean", "SB3: mean", "difference", "chance"),
        *("median ours, SB3", "IQM ours, SB3"),
    )
    return table(heads, (_row(one, one[measure]) for one in compared))


def _row(one: Compared, found: dict[str, Any]) -> tuple[str, ...]:
    ours, theirs = found["ours"], found["sb3"]
    return (
        _title(one),
        f"{one['steps']:,}",
        f"{len(ours['runs'])}, {len(theirs['runs'])}",
        _bracketed(ours),
        _bracketed(theirs),
        _bracketed(found["difference"]),
        f"{found['probability_of_improvement']:.2f}",
        f"{ours['median']:.1f}, {theirs['median']:.1f}",
        f"{ours['iqm']:.1f}, {theirs['iqm']:.1f}",
    )


def _bracketed(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.1f} [{interval['low']:.1f}, {interval['high']:.1f}]"


def _curves(compared: Sequence[Compared]) -> str:
    rows = (
        (_title(one), side, *(_plain(one["curves"][side][place]) for place in _QUARTERS))
        for one in compared
        for side in ("ours", "sb3")
    )
    return table(("setup", "side", "at 25 %", "at 50 %", "at 75 %", "at the end"), rows)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _lists(compared: Sequence[Compared]) -> str:
    lines = [
        f"- {_title(one)}, {words}, {side}: "
        + ", ".join(f"{value:.0f}" for value in one[measure][side]["runs"])
        for one in compared
        for measure, words in MEASURES.items()
        for side in ("ours", "sb3")
    ]
    return "\n".join(lines) + "\n"


def _title(one: Compared) -> str:
    return one["setup"] + (f" ({one['backend']})" if one["backend"] else "")
