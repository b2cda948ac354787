"""The jobs page: one row per job, enough to see which one to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_args
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from api.jobs import After
from api.limits import Text
from api.pages import charts, words
from api.pages.door import Reader
from api.pages.render import page, who
from api.pages.trouble import page_router
from api.show import job_view
from api.views import JobView
from api.work import crew_of, needs_of
from core.records.kinds import FINISHED, JobStatus

router = page_router()

PAGE = 25


@dataclass(frozen=True, slots=True)
class Row:
    """A job as the list shows it."""

    job: JobView
    badge: tuple[str, str]
    spark: Markup
    waiting: str | None
    verdict: str | None


@router.get("/")
async def read_root() -> Response:
    """Lead to the jobs."""
    return RedirectResponse("/jobs", 303)


@router.get("/jobs")
def read_jobs(
    request: Request,
    here: Reader,
    status: Annotated[Text, Query(max_length=40)] = "",
    task: Annotated[Text, Query(max_length=200)] = "",
    after: After = None,
) -> Response:
    """Return the page; what is filtered stands in its address."""
    statuses = get_args(JobStatus)
    chosen = status if status in statuses else ""
    found = here.store.jobs(
        after=after or None, limit=PAGE, status=chosen or None, task=task or None
    )
    ids = [job.id for job in found.items]
    best, rests = here.store.glances.best_so_far(ids), here.store.glances.resting(ids)
    announced = here.store.glances.announced(ids)
    crew, ahead = crew_of(here.store.crew.workers()), here.store.crew.ahead_of(found.items)
    rows = []
    for stored, before in zip(found.items, ahead, strict=True):
        job = job_view(stored)
        waiting = words.waiting(
            job, before, crew, rests.get(job.id), needs_of(announced.get(job.id, ()))
        )
        rows.append(row(job, best.get(job.id, ()), waiting))
    kept = {"status": chosen, "task": task}
    more = urlencode({**kept, "after": ids[-1]}) if found.has_more else None
    return page(
        request,
        "jobs.html",
        rows=rows,
        statuses=[(name, words.STATUS[name][0]) for name in statuses],
        filters=kept,
        more=more,
        finished=FINISHED,
        filtered=any(kept.values()) or after is not None,
        **who(here),
    )


def row(job: JobView, best: tuple[float, ...], waiting: str | None) -> Row:
    """Return a job as the list shows it."""
    return Row(
        job=job,
        badge=words.status(job),
        spark=charts.sparkline(best, job.native_fitness),
        waiting=waiting,
        verdict=job.outcome.verdict if job.outcome and job.status == "succeeded" else None,
    )
