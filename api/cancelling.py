"""Cancelling many jobs at once, each of which is answered for by itself."""

from __future__ import annotations

from fastapi import APIRouter

from api import openapi
from api.bodies import MOST_AT_ONCE, CancelBody
from api.cancelling_views import CancelledList, CancelledView
from api.dependencies import Here, Visit
from api.errors import problem_of
from api.short import Route
from core.errors import Conflict, NotFound

router = APIRouter(tags=["jobs"], route_class=Route)


@router.post(
    "/jobs/cancel",
    operation_id="cancel_jobs",
    summary="Cancel many jobs",
    responses=openapi.refusals(408, 413, 422),
)
def cancel_jobs(body: CancelBody, here: Here) -> CancelledList:
    """Ask for the end of up to 100 jobs: those that are named, or those that have not ended and fit.

    One that cannot be cancelled keeps no other from it; asking twice is asking once.
    """
    ids = list(dict.fromkeys(body.ids)) if body.ids is not None else _fitting(body, here)
    return CancelledList(
        data=[_cancelled(here, job_id) for job_id in ids[:MOST_AT_ONCE]],
        has_more=len(ids) > MOST_AT_ONCE,
    )


def _fitting(body: CancelBody, here: Visit) -> list[str]:
    """Return the jobs that fit, and one more than are cancelled if there are more."""
    most = MOST_AT_ONCE + 1
    return list(here.store.open_jobs(most, status=body.status, task=body.task, labels=body.labels))


def _cancelled(here: Visit, job_id: str) -> CancelledView:
    try:
        job = here.store.request_cancel(job_id)
    except (NotFound, Conflict) as error:
        refused = problem_of(error, f"/v1/jobs/{job_id}", None)
        return CancelledView(id=job_id, status=None, problem=refused)
    return CancelledView(id=job_id, status=job.status, problem=None)
