"""How a job and a candidate look in a notebook: HTML without script, everything in it escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING

from client.summary import number
from client.transport import ApiProblem, Unreachable
from core.export.svg import sparkline

if TYPE_CHECKING:
    from api.history_views import CandidateView
    from client.jobs import Job


def show_job(job: Job) -> str:
    """Show where a job stands, as it was last read, and how its best fitness grew."""
    view = job.view
    best = view.best.fitness if view.best else None
    rows = [
        ("status", view.status if view.phase is None else f"{view.status} · {view.phase}"),
        ("best fitness", f"{number(best)} (native {number(view.native_fitness)})"),
        ("candidates", f"{view.counts.proposed} proposed, {view.counts.trained} trained"),
        ("used", f"{view.spent.env_steps:,} environment steps"),
    ]
    if view.outcome is not None:
        rows.append(("verdict", view.outcome.sentence))
    if view.failure is not None:
        rows.append(("failure", f"{view.failure.title}: {view.failure.detail}"))
    title = f"{view.name or view.spec.task.name} · {view.id}"
    drawn = sparkline(_growth(job), "best fitness so far, by candidate")
    return _block(title, rows, drawn)


def _growth(job: Job) -> list[float]:
    """Return the best fitness so far after each measured candidate; [] if it cannot be read now."""
    try:
        measured = [c.fitness.mean for c in job.candidates if c.fitness is not None]
    except (ApiProblem, Unreachable):
        return []  # a picture less, where the rest of the job can still be shown
    return list(accumulate(measured, max))


def show_candidate(view: CandidateView, code: str) -> str:
    """Show a candidate's fitness and its code."""
    fitness = view.fitness
    told = "not measured" if fitness is None else f"{number(fitness.mean)} "
    if fitness is not None:
        told += f"[{number(fitness.low)}, {number(fitness.high)}] over {fitness.n} seeds"
    rows = [("status", view.status), ("fitness", told), ("made by", view.operator)]
    return _block(f"Candidate {view.key}", rows, f"<pre>{escape(code)}</pre>")


def _block(title: str, rows: Iterable[tuple[str, str]], below: str) -> str:
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<div><strong>{escape(title)}</strong><table>{cells}</table>{below}</div>"
