"""Whether work is moving: signs of life of the workers, and the jobs that wait or are worked on."""

from __future__ import annotations

from fastapi import Request, Response

from api.metrics import is_moving
from api.pages import jobs, words
from api.pages.door import Reader
from api.pages.render import page, who
from api.pages.trouble import page_router
from api.show import activity_view, job_view
from api.work import crew_of, needs_of, worker_view

router = page_router()

MOST = 50
OPEN = ("running", "queued", "awaiting_feedback", "paused")


@router.get("/workers")
def read_workers(request: Request, here: Reader) -> Response:
    """Return the page: sums over all owners, and the caller's own unfinished jobs."""
    standing = here.house.store.standing()
    found = [job for status in OPEN for job in here.store.jobs(status=status, limit=MOST).items]
    ids = [job.id for job in found]
    rests, announced = here.store.glances.resting(ids), here.store.glances.announced(ids)
    crew, ahead = here.store.crew.workers(), here.store.crew.ahead_of(found)
    rows = []
    for stored, before in zip(found, ahead, strict=True):
        job = job_view(stored)
        needs = needs_of(announced.get(job.id, ()))
        waiting = words.waiting(job, before, crew_of(crew), rests.get(job.id), needs)
        rows.append(jobs.row(job, (), waiting))
    doing = [
        (job_view(job), activity_view(one))
        for job in found
        if job.status == "running"
        for one in here.store.activity(job.id)
    ]
    return page(
        request,
        "workers.html",
        standing=standing,
        moving=is_moving(standing),
        rows=rows,
        crew=[worker_view(number, one) for number, one in enumerate(crew)],
        doing=doing,
        **who(here),
    )
