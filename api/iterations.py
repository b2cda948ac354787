"""The refinement history: round by round, what was tried and what was learnt."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api import openapi
from api.dependencies import Here, JobId
from api.history_views import ArmList, IterationList, IterationView
from api.show_history import arm_view, iteration_view
from core.bandit import posteriors
from core.errors import NotFound

router = APIRouter(tags=["history"])


@router.get(
    "/jobs/{job_id}/iterations",
    operation_id="list_iterations",
    summary="Read the refinement history",
    responses=openapi.refusals(404),
)
def list_iterations(job_id: JobId, here: Here) -> IterationList:
    """Return every iteration with its candidates and the feedback that the designer was given."""
    found = here.store.iterations(job_id)
    return IterationList(data=[iteration_view(job_id, iteration) for iteration in found])


@router.get(
    "/jobs/{job_id}/iterations/{number}",
    operation_id="read_iteration",
    summary="Read one iteration",
    responses=openapi.refusals(404, 422),
)
def read_iteration(
    job_id: JobId, number: Annotated[int, Path(ge=0, le=1_000)], here: Here
) -> IterationView:
    """Return one iteration, counted from 0."""
    for iteration in here.store.iterations(job_id):
        if iteration.number == number:
            return iteration_view(job_id, iteration)
    raise NotFound(f"job {job_id} has no iteration {number}")


@router.get(
    "/jobs/{job_id}/arms",
    operation_id="list_arms",
    summary="Read what each way of asking has brought",
    responses=openapi.refusals(404),
)
def list_arms(job_id: JobId, here: Here) -> ArmList:
    """Return the arms of the bandit with their posteriors, from closed iterations alone."""
    history = here.store.history(job_id)
    own = history.spec.designer.model
    known = zip(history.spec.arms, posteriors(history), strict=True)
    return ArmList(data=[arm_view(arm, p, arm.model or own) for arm, p in known])
