"""The page of a candidate: its code, how it learnt, what its terms do, and what was said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import Request, Response

from api.dependencies import CandidateId, Visit
from api.downloads import native_interval
from api.files import list_rollouts
from api.history_views import ExchangeView
from api.pages import charts, curves, words
from api.pages.door import Reader
from api.pages.render import page, who
from api.pages.series import Style, style_of
from api.pages.trouble import page_router
from api.show import key_to_id
from api.show_history import candidate_view, exchange_view, fitness_interval
from core.diagnoses import component_flags, feature_flags
from core.program import current_source
from core.records.measured import Report, Run, TermStatistics
from core.records.outcome import Interval
from core.records.rounds import Candidate, Feedback
from core.storage import StoredCandidate, StoredJob, StoredRun
from core.words import number

router = page_router()

MOST_CURVES = 12  # runs whose own curves are read


@dataclass(frozen=True, slots=True)
class Term:
    """A component or feature in the table."""

    name: str
    numbers: TermStatistics
    style: Style
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, with the numbers for the script that lets people zoom."""

    title: str
    lines: Sequence[charts.Line]
    words: str
    x: str
    y: str
    level: charts.Level | None = None
    note: str = ""


@router.get("/candidates/{candidate_id}")
def read_candidate(request: Request, candidate_id: CandidateId, here: Reader) -> Response:
    """Return the page."""
    stored = here.store.candidate(candidate_id)
    candidate, job = stored.candidate, here.store.job(stored.job_id)
    stored_runs = here.store.runs(candidate_id)
    runs = [found.run for found in stored_runs]
    view = candidate_view(stored)
    fitness = fitness_interval(candidate)
    native = native_interval(here.store, job.id)
    style = style_of(candidate.iteration, candidate.number, job.spec.candidates)
    keys = [glance.key for glance in here.store.glances.candidates(job.id)]
    place = keys.index(candidate.key)
    return page(
        request,
        "candidate.html",
        job=job,
        candidate=view,
        tone=words.CANDIDATE[candidate.status],
        style=style,
        native=native,
        headline=headline(candidate, fitness, native),
        code=current_source(candidate.program) if candidate.program else None,
        figures=figures(candidate, runs, _curves(here, stored_runs), native, style),
        components=components(candidate.report),
        features=features(candidate.report, job),
        runs=runs,
        rollouts=list_rollouts(candidate_id, here).data,
        exchanges=_exchanges(here, stored),
        given_feedback=_given(here, job.id, candidate),
        before=key_to_id(job.id, keys[place - 1]) if place else None,
        following=key_to_id(job.id, keys[place + 1]) if place + 1 < len(keys) else None,
        rivals=_rivals(job, candidate),
        **who(here),
    )


def headline(candidate: Candidate, fitness: Interval | None, native: Interval | None) -> str:
    """Say in one sentence what became of a candidate."""
    if candidate.status in ("rejected", "screened"):
        return (
            f"It was {'rejected' if candidate.status == 'rejected' else 'held back by a screen'}."
        )
    if candidate.status == "failed":
        return "Its training failed."
    if fitness is None:
        return "It has not been measured yet."
    told = f"Fitness {number(fitness.mean)} over {fitness.n} seeds in the search"
    if native is None:
        return f"{told}."
    side = "above" if fitness.mean > native.mean else "not above"
    return f"{told}, {side} the native reward's {number(native.mean)}."


def figures(
    candidate: Candidate,
    runs: Sequence[Run],
    with_curves: Sequence[Run],
    native: Interval | None,
    style: Style,
) -> list[Figure]:
    """Return the charts for which there are numbers."""
    level = None
    if native is not None:
        level = charts.Level(native.mean, native.low, native.high, "native reward")
    learnt = curves.seed_lines(curves.measured(runs), style)
    own = curves.seed_lines(curves.said(with_curves, "native_return"), style)
    parts = curves.component_lines(candidate.report.components if candidate.report else {})
    x = "environment steps"
    found = [
        Figure(
            *(
                "Fitness while learning",
                learnt,
                "Fitness measured on the way, by seed",
                x,
                "fitness",
            ),
            level=level,
            note="Measured on the untouched environment; the band is the native reward at its end.",
        ),
        Figure(
            *("Native return while learning", own, "Native return by seed", x, "native return"),
            note="What the runs said of themselves; feedback, never rank.",
        ),
        Figure(
            *("Components while learning", parts, "Mean per step of each component"),
            *("checkpoint", "mean per step"),
        ),
    ]
    return [figure for figure in found if figure.lines]


def components(report: Report | None) -> list[Term]:
    """Return the components with what is wrong with them."""
    if report is None:
        return []
    return _terms(report.components, lambda term: component_flags(term, report.recorded))


def features(report: Report | None, job: StoredJob) -> list[Term]:
    """Return the features with what is wrong with them."""
    if report is None:
        return []
    smoothness = job.spec.smoothness
    return _terms(report.features, lambda term: feature_flags(term, report, smoothness))


def _rivals(job: StoredJob, candidate: Candidate) -> list[str]:
    """Return the keys of the candidates that one would compare it with: the best, and its parents."""
    named = dict.fromkeys((job.best_candidate, *candidate.parents))
    return [key for key in named if key is not None and key != candidate.key]


def _terms(terms: Mapping[str, TermStatistics], flags: words.Flags) -> list[Term]:
    return [
        Term(name, term, Style(place % 8, place // 8 % 4), tuple(map(_flag, flags(term))))
        for place, (name, term) in enumerate(terms.items())
    ]


def _flag(name: str) -> str:
    return words.FLAGS.get(name, name)


def _curves(here: Visit, runs: Sequence[StoredRun]) -> list[Run]:
    named = [found for found in runs if found.run.stage == "search"]
    return [here.store.run(found.id).run for found in named[:MOST_CURVES]]


def _exchanges(here: Visit, stored: StoredCandidate) -> list[ExchangeView]:
    """Return the questions of its slot with their answers, in order."""
    candidate = stored.candidate
    found = here.store.exchanges(stored.job_id, candidate.iteration)
    return [exchange_view(one) for one in found if one.slot == candidate.number]


def _given(here: Visit, job_id: str, candidate: Candidate) -> Feedback | None:
    """Return what was told after its iteration, which the next prompts saw."""
    told = here.store.glances.told(job_id)
    return next((one for one in told if one.iteration == candidate.iteration), None)
