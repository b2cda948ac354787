"""A job as one HTML file, for a paper or a mail: no script, no request, everything inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from fastapi import APIRouter, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from api import downloads, openapi
from api.dependencies import Here, JobId
from api.history_views import CandidateView, IterationView, RunView, TermView
from api.show import job_view, key_to_id
from api.show_history import candidate_view, interval_of, iteration_view, run_view
from api.views import JobView
from core.export.svg import COLOURS, NATIVE_COLOUR, Band, Line, chart
from core.fitness import describe
from core.program import current_source
from core.records.outcome import Interval
from core.storage import Store, StoredCandidate
from core.words import imported_from, number

router = APIRouter(tags=["jobs"])

SEARCHED = ("search", "baseline")
VERDICTS = {
    "better": "Better than the native reward",
    "equal": "Not to be told from the native reward",
    "worse": "The native reward was better",
}


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that the page tells.

    Attributes:
        native:  interval of the baseline's runs in the search; None before it.
        best:    the chosen candidate, or the best one so far; None without any.
        runs:    of the best candidate, then of the native reward, those of the search.
    """

    job: JobView
    measured: str
    iterations: Sequence[IterationView]
    native: Interval | None
    best: CandidateView | None
    code: str
    runs: Sequence[RunView]


@router.get(
    "/jobs/{job_id}/export.html",
    operation_id="export_page",
    summary="Download a job as one HTML file",
    response_class=openapi.HtmlResponse,
    responses=openapi.refusals(404) | openapi.HTML_FILE,
)
def export_page(job_id: JobId, here: Here) -> Response:
    """Return a page that needs nothing beside it: verdict, charts, candidates, and the best code."""
    content = render(find(here.store, job_id)).encode()
    name = f"attachment; filename={job_id}.html"
    return openapi.HtmlResponse(content, headers={"Content-Disposition": name})


def find(store: Store, job_id: str) -> Found:
    """Read what the page tells.

    Raises:
        NotFound: no such job.
    """
    job = store.job(job_id)
    known = job.preflight.fields if job.preflight else job.spec.task.fields
    native = [stored for stored in store.native_runs(job_id) if stored.run.stage == "baseline"]
    key = job.outcome.best if job.outcome and job.outcome.best else job.best_candidate
    best = None if key is None else store.candidate(key_to_id(job_id, key))
    own = [] if best is None else [s for s in store.runs(best.id) if s.run.stage == "search"]
    return Found(
        job=job_view(job),
        measured=describe(job.spec.task.fitness, known),
        iterations=[iteration_view(job_id, one) for one in store.iterations(job_id)],
        native=interval_of([stored.run.fitness for stored in native]),
        best=None if best is None else candidate_view(best),
        code=_code(best),
        runs=[run_view(stored) for stored in (*own, *native)],
    )


def _code(best: StoredCandidate | None) -> str:
    program = None if best is None else best.candidate.program
    return "" if program is None else current_source(program)


def render(found: Found) -> str:
    """Write the page.  What is marked as HTML was escaped by `core.export.svg` and by pygments."""
    candidates = [c for iteration in found.iterations for c in iteration.candidates]
    return (
        environment()
        .get_template("job.html")
        .render(
            found=found,
            job=found.job,
            candidates=candidates,
            title=found.job.name or found.job.spec.task.name,
            imported=found.job.origin and imported_from(found.job.origin),
            verdict=VERDICTS[found.job.outcome.verdict] if found.job.outcome else None,
            fitness=Markup(fitness_chart(candidates, found.native)),
            curves=Markup(curves_chart(found.runs)),
            components=Markup(components_chart(found.best)),
            code=coloured(found.code),
            colours=HtmlFormatter(style="friendly").get_style_defs(".code"),
            version=downloads.version(),
        )
    )


@cache
def environment() -> Environment:
    """Return the templates; whatever somebody wrote is escaped by them."""
    made = Environment(
        loader=PackageLoader("api", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = number
    made.filters["interval"] = interval
    return made


def interval(found: Interval | None) -> str:
    """Write a mean with its interval."""
    if found is None:
        return "–"
    return f"{number(found.mean)} [{number(found.low)}, {number(found.high)}]"


def coloured(source: str) -> Markup:
    """Return a program as HTML with classes for its colours; pygments escapes it."""
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))


# --- charts -----------------------------------------------------------------------------------


def fitness_chart(candidates: Sequence[CandidateView], native: Interval | None) -> str:
    """Draw every measured candidate as a dot by iteration, the best so far, and the native reward."""
    dots, best = [], dict[int, float]()
    for candidate in candidates:
        if candidate.fitness is not None:
            value, place = candidate.fitness.mean, candidate.iteration
            dots.append((place + 0.5 * (candidate.number * 0.382 % 1.0 - 0.5), value))
            best[place] = max(value, best.get(place, -math.inf))
    steps = list(zip(sorted(best), accumulate((best[n] for n in sorted(best)), max), strict=True))
    lines = [
        Line([(float(x), y) for x, y in steps], COLOURS[1], "best so far"),
        Line(dots, COLOURS[0], "candidates", dots=True),
    ]
    band = None if native is None else Band(native.low, native.high, "native reward, 95 %")
    return chart(
        lines, "Fitness by iteration", x_name="iteration", y_name="fitness", band=band, whole=True
    )


def curves_chart(runs: Sequence[RunView]) -> str:
    """Draw how the best design, and the native reward, learnt: a line per seed."""
    named: set[str] = set()
    lines = []
    for run in runs:
        colour = NATIVE_COLOUR if run.stage == "baseline" else COLOURS[0]
        name = "native reward" if run.stage == "baseline" else f"candidate {run.arm}"
        points = [(float(step), value) for step, value in run.checkpoints]
        lines.append(Line(points, colour, "" if name in named else name))
        named.add(name)
    shown = [line for line in lines if line.points]
    title = "Fitness while training"
    return chart(shown, title, x_name="environment steps", y_name="fitness")


def components_chart(best: CandidateView | None) -> str:
    """Draw what the best design's components paid per step over training."""
    terms = best.report.components if best is not None and best.report is not None else {}
    lines = [_term(name, term, place) for place, (name, term) in enumerate(terms.items())]
    shown = [line for line in lines if len(line.points) > 1]
    return chart(
        shown, "Components over training", x_name="checkpoint", y_name="mean per step", whole=True
    )


def _term(name: str, term: TermView, place: int) -> Line:
    points = [(float(n), value) for n, value in enumerate(term.by_checkpoint, 1)]
    return Line(points, COLOURS[place % len(COLOURS)], name)
