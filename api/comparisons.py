"""Candidates laid beside each other, and what changes from one program to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api import errors, kinds, openapi
from api.comparison_views import ComparisonView, DiffView
from api.dependencies import CandidateId, Here
from api.errors import InvalidField, printable
from api.limits import Text
from api.show import key_to_id
from api.show_comparison import comparison_view, diff_view
from core import seeding
from core.comparing import FEWEST, MOST, Contestant, compare
from core.differences import unified
from core.errors import NotFound
from core.program import current_source
from core.records.history import History
from core.records.kinds import NATIVE
from core.storage import Store, StoredCandidate, StoredJob

router = APIRouter(tags=["compare"])

PLAIN = "text/plain"


@router.get(
    "/compare",
    operation_id="compare_candidates",
    summary="Compare candidates",
    responses=openapi.refusals(404, 422),
)
def compare_candidates(
    here: Here,
    candidates: Annotated[
        Text,
        Query(
            max_length=2_000,
            description="Ids of two to six candidates, of any of your jobs, with commas between.",
            examples=["cand_01jd7v8a3bqk2m5c6x9z0w4e1r_0_0,cand_01jd7v8a3bqk2m5c6x9z0w4e1r_0_1"],
        ),
    ],
) -> ComparisonView:
    """Lay two to six candidates beside each other, and beside the native rewards of their jobs.

    All sides are compared on the same ground: on fresh seeds if every one was trained on them, else at
    the highest rung that all candidates reached. Rows say with `differs` where sides are not alike.
    """
    found = [here.store.candidate(name) for name in _names(candidates)]
    contestants = contestants_of(here.store, found)
    return comparison_view(compare(contestants), sources_of(found))


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not FEWEST <= len(names) <= MOST:
        raise InvalidField(
            f"{len(names)} different ones",
            pointer="query/candidates",
            expected=f"{FEWEST} to {MOST} candidates",
            hint="Put their ids behind each other with commas.",
        )
    return names


def contestants_of(store: Store, found: Sequence[StoredCandidate]) -> list[Contestant]:
    """Return the sides of a comparison: the candidates, then the native reward of each job."""
    jobs = {job_id: store.job(job_id) for job_id in dict.fromkeys(c.job_id for c in found)}
    sides = [_contestant(store, jobs[stored.job_id], stored) for stored in found]
    return [*sides, *(_native(store, job) for job in jobs.values())]


def _contestant(store: Store, job: StoredJob, stored: StoredCandidate) -> Contestant:
    runs = [one.run for one in store.runs(stored.id)]
    kept = [run for run in runs if run.stage == "search"]
    confirmed = [run for run in runs if run.stage == "confirm"]
    return Contestant(
        name=stored.id,
        job=job.id,
        spec=job.spec,
        floor=_floor(job),
        candidate=stored.candidate,
        runs=(*kept, *seeding.present_confirmation(_bare(job), confirmed)),
        report=stored.candidate.report,
    )


def _native(store: Store, job: StoredJob) -> Contestant:
    runs = [one.run for one in store.native_runs(job.id)]
    kept = [run for run in runs if run.stage == "baseline"]
    confirmed = [run for run in runs if run.stage == "confirm"]
    return Contestant(
        name=f"{NATIVE}:{job.id}",
        job=job.id,
        spec=job.spec,
        floor=_floor(job),
        candidate=None,
        runs=(*kept, *seeding.present_confirmation(_bare(job), confirmed)),
    )


def _floor(job: StoredJob) -> float:
    return job.preflight.random_fitness if job.preflight else 0.0


def _bare(job: StoredJob) -> History:
    """Return what tells which seeds the last confirmation has."""
    return History(job.spec, extensions=job.extensions)


def sources_of(found: Sequence[StoredCandidate]) -> dict[str, str]:
    """Return the programs, with the numbers in force, of those candidates that have one."""
    return {
        stored.id: current_source(stored.candidate.program)
        for stored in found
        if stored.candidate.program is not None
    }


@router.get(
    "/candidates/{candidate_id}/diff",
    operation_id="diff_candidate",
    summary="Read what a program changes",
    response_model=DiffView,
    responses=openapi.refusals(404, 422)
    | openapi.or_as(
        PLAIN,
        "The changes, or, where asked for by `Accept`, what `diff -u` prints.",
        "--- a\n+++ b\n@@ -1 +1 @@\n-    near = 1.0\n+    near = 2.0\n",
    ),
)
def diff_candidate(
    candidate_id: CandidateId,
    here: Here,
    request: Request,
    against: Annotated[
        Text,
        Query(
            max_length=200,
            description="`parent`, `native` (which has no program), or the id of a candidate.",
        ),
    ] = "parent",
) -> Response | DiffView:
    """Return the changes from another program to this one, with the numbers in force in both."""
    stored = here.store.candidate(candidate_id)
    old_name, old = _against(here.store, stored, against)
    new = _source(stored)
    if PLAIN in request.headers.get("accept", ""):
        return Response(unified(old, new, old_name, stored.id), media_type=PLAIN)
    return diff_view(old_name, old, stored.id, new)


def _against(store: Store, stored: StoredCandidate, wish: str) -> tuple[str, str]:
    if wish == NATIVE:
        return NATIVE, ""
    if wish != "parent":
        other = store.candidate(wish)
        return other.id, _source(other)
    parents = stored.candidate.parents
    if not parents:
        raise NotFound(
            f"Candidate {stored.id} has no parent.",
            hint="Compare it with `against=native`, or with the id of another candidate.",
        )
    parent = store.candidate(key_to_id(stored.job_id, parents[0]))
    return parent.id, _source(parent)


def _source(stored: StoredCandidate) -> str:
    program = stored.candidate.program
    if program is None:
        reason = printable(stored.candidate.rejection or "it has not been checked yet")
        raise errors.ApiError(kinds.NO_CODE, f"candidate {stored.id} has no program: {reason}")
    return current_source(program)
