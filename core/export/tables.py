"""Curves and components as tables that any spreadsheet reads."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields

from core.records.measured import Report, Run, TermStatistics
from core.spreadsheets import write_table

_STATISTICS = tuple(f.name for f in fields(TermStatistics) if f.name != "by_checkpoint")


def curves_table(runs: Iterable[Run]) -> str:
    """Return every series of every run: arm, stage, seed, rung, series, step, value."""
    rows = (
        (run.arm, run.stage, run.seed, run.rung, name, step, value)
        for run in runs
        if run.curve is not None
        for name, values in run.curve.series.items()
        for step, value in zip(run.curve.steps, values, strict=True)
    )
    return _table(("arm", "stage", "seed", "rung", "series", "step", "value"), rows)


def components_table(report: Report | None) -> str:
    """Return the statistics of every component and feature, and each component's course."""
    known = report or Report()
    kinds: Mapping[str, Mapping[str, TermStatistics]] = {
        "component": known.components,
        "feature": known.features,
    }
    courses = [len(t.by_checkpoint) for terms in kinds.values() for t in terms.values()]
    names = [f"checkpoint_{n}" for n in range(max(courses, default=0))]
    rows = []
    for kind, terms in kinds.items():
        for name, term in terms.items():
            told = asdict(term)
            course = [*term.by_checkpoint, *[""] * (len(names) - len(term.by_checkpoint))]
            rows.append([kind, name, *(told[s] for s in _STATISTICS), *course])
    return _table(("kind", "name", *_STATISTICS, *names), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    write_table(text, head, rows)
    return text.getvalue()
