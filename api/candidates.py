"""Candidates, their code, and their trainings with curves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import downloads, errors, kinds, openapi
from api.dependencies import CandidateId, Here, JobId, RunId
from api.history_views import CandidateView, RunList, RunWithCurveView
from api.jobs import After, Limit
from api.show_history import candidate_view, run_view, run_with_curve_view
from api.views import Page
from core.records.kinds import CandidateStatus

router = APIRouter(tags=["candidates"])


@router.get(
    "/jobs/{job_id}/candidates",
    operation_id="list_candidates",
    summary="List a job's candidates",
    responses=openapi.refusals(404, 422),
)
def list_candidates(
    job_id: JobId,
    here: Here,
    after: After = None,
    limit: Limit = 50,
    status: Annotated[
        CandidateStatus | None, Query(description="Only those in this state.")
    ] = None,
) -> Page[CandidateView]:
    """Return candidates in the order in which they were proposed, with lineage and rejection."""
    page = here.store.candidates(job_id, after=after, limit=limit, status=status)
    shown = [candidate_view(candidate) for candidate in page.items]
    return Page(data=shown, has_more=page.has_more, next=shown[-1].id if page.has_more else None)


@router.get(
    "/jobs/{job_id}/runs",
    operation_id="list_native_runs",
    summary="List the trainings of the native reward",
    responses=openapi.refusals(404),
)
def list_native_runs(job_id: JobId, here: Here) -> RunList:
    """Return the baseline's trainings, with which every candidate is compared."""
    return RunList(data=[run_view(run) for run in here.store.native_runs(job_id)])


@router.get(
    "/candidates/{candidate_id}",
    operation_id="read_candidate",
    summary="Read a candidate",
    responses=openapi.refusals(404),
)
def read_candidate(candidate_id: CandidateId, here: Here) -> CandidateView:
    """Return everything that is known of a candidate but its code and its curves."""
    return candidate_view(here.store.candidate(candidate_id))


@router.get(
    "/candidates/{candidate_id}/code",
    operation_id="read_code",
    summary="Read a candidate's code",
    response_class=openapi.PythonResponse,
    responses=openapi.refusals(404) | openapi.python_file("The program as the designer wrote it."),
)
def read_code(candidate_id: CandidateId, here: Here) -> Response:
    """Return the program's text.  It is untrusted: whoever runs it should have read it."""
    candidate = here.store.candidate(candidate_id).candidate
    if candidate.program is None:
        reason = candidate.rejection or "it has not been checked yet"
        raise errors.ApiError(kinds.NO_CODE, f"candidate {candidate_id} has no program: {reason}")
    return downloads.attachment(candidate.program.source, f"{candidate_id}.py")


@router.get(
    "/candidates/{candidate_id}/runs",
    operation_id="list_runs",
    summary="List a candidate's trainings",
    responses=openapi.refusals(404),
)
def list_runs(candidate_id: CandidateId, here: Here) -> RunList:
    """Return one entry per stage, rung and seed, with the fitness that the scorer measured."""
    return RunList(data=[run_view(run) for run in here.store.runs(candidate_id)])


@router.get(
    "/runs/{run_id}",
    operation_id="read_run",
    summary="Read a training with its curve",
    responses=openapi.refusals(404),
)
def read_run(run_id: RunId, here: Here) -> RunWithCurveView:
    """Return a training, what it said of itself on the way, and what the scorer measured."""
    return run_with_curve_view(here.store.run(run_id))
