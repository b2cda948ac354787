"""What people say of a job, and the programs that they hand in."""

from __future__ import annotations

from fastapi import APIRouter, BackgroundTasks, Response, status

from api import openapi
from api.bodies import FeedbackBody, ProgramBody, body_sha256
from api.dependencies import Here, JobId
from api.jobs import IdempotencyKey
from api.limits import MAX_PLANNED_STEPS
from api.people_views import GivenList, GivenView, RemarkList, RemarkView
from api.programs import check_source, task_of
from api.short import Route
from api.show import key_to_id
from core.errors import InvalidInput, NotFound
from core.records.people import Given, Remark
from core.records.rounds import Iteration
from core.storage import Request
from core.storage.ids import read_arm, read_candidate_id

router = APIRouter(tags=["people"], route_class=Route)


@router.post(
    "/jobs/{job_id}/feedback",
    operation_id="add_feedback",
    summary="Say what you think",
    status_code=status.HTTP_201_CREATED,
    responses=openapi.refusals(404, 408, 409, 413, 422) | openapi.repeatable(201),
)
def add_feedback(
    job_id: JobId,
    body: FeedbackBody,
    here: Here,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> RemarkView:
    """Keep a text, a thumb or a preference; a job that waits for feedback goes on at once.

    Words are quoted in the prompts of the next iteration. Judgements count in the choice of parents
    with the weight `human_weight` of the job; they never move the verdict.
    """
    remark = Remark(
        number=0,
        kind=body.kind,
        candidate=candidate_key(job_id, body.candidate),
        other=candidate_key(job_id, body.other),
        value=body.value or 0,
        text=body.text,
    )
    request = Request(idempotency_key, body_sha256(body))
    kept, replayed = here.store.add_remark(job_id, remark, request)
    mark(response, replayed)
    background.add_task(here.wake, job_id)
    return remark_view(job_id, kept)


@router.get(
    "/jobs/{job_id}/feedback",
    operation_id="list_feedback",
    summary="Read what was said",
    responses=openapi.refusals(404),
)
def list_feedback(job_id: JobId, here: Here) -> RemarkList:
    """Return every remark, in order."""
    said = here.store.remarks(job_id)
    return RemarkList(data=[remark_view(job_id, remark) for remark in said])


@router.post(
    "/jobs/{job_id}/candidates",
    operation_id="give_program",
    summary="Hand in a program of your own",
    status_code=status.HTTP_202_ACCEPTED,
    responses=openapi.refusals(404, 408, 409, 413, 422) | openapi.repeatable(202),
)
def give_program(
    job_id: JobId,
    body: ProgramBody,
    here: Here,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> GivenView:
    """Measure a program, say an edited candidate, as a candidate of the next iteration.

    Static rules are checked now, the others in the sandbox before it is trained. If the job has no
    further iteration, it gets one for this program alone; where its confirmation had begun by then,
    everything is confirmed again on fresh seeds, and the verdict's threshold is divided by the number
    of confirmations. A finished job takes programs with `extend`.
    """
    here.need("code:submit")
    job = here.store.job(job_id)
    check_source(body.source, "/source", task_of(job.spec, job.preflight), job.spec.mode)
    parent = candidate_key(job_id, body.parent)
    given = Given(0, body.source, "user" if parent is None else "edit", parent, body.note)
    request = Request(idempotency_key, body_sha256(body))
    kept, replayed = here.store.add_given(job_id, given, request, most_steps=MAX_PLANNED_STEPS)
    mark(response, replayed)
    background.add_task(here.wake, job_id)
    return given_view(job_id, kept, here.store.iterations(job_id))


@router.get(
    "/jobs/{job_id}/programs",
    operation_id="list_programs",
    summary="Read the programs that people handed in",
    responses=openapi.refusals(404),
)
def list_programs(job_id: JobId, here: Here) -> GivenList:
    """Return every program with the candidate that it became."""
    iterations = here.store.iterations(job_id)
    found = here.store.given(job_id)
    return GivenList(data=[given_view(job_id, given, iterations) for given in found])


def candidate_key(job_id: str, name: str | None) -> str | None:
    """Return the key of a candidate of the job, named by key or id.

    Raises:
        NotFound: the name has neither form, or is that of another job's candidate.
    """
    if name is None:
        return None
    if name.startswith("cand_"):
        key = read_candidate_id(name)
        if key.job_id != job_id:
            raise NotFound(f"Candidate {name} belongs to another job than {job_id}.")
        return f"{key.iteration}.{key.number}"
    try:
        found = read_arm(name)
    except InvalidInput:
        found = None
    if found is None:
        raise NotFound(f"There is no candidate `{name}` in job {job_id}.")
    return f"{found[0]}.{found[1]}"


def mark(response: Response, replayed: bool) -> None:
    """Tell that the same request was carried out before."""
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"


def remark_view(job_id: str, remark: Remark) -> RemarkView:
    """Show a remark."""
    return RemarkView(
        number=remark.number,
        kind=remark.kind,
        candidate=key_to_id(job_id, remark.candidate) if remark.candidate else None,
        other=key_to_id(job_id, remark.other) if remark.other else None,
        value=remark.value,
        text=remark.text,
        iteration=remark.iteration,
    )


def given_view(job_id: str, given: Given, iterations: tuple[Iteration, ...]) -> GivenView:
    """Show a program with what became of it."""
    became = next(
        (c.key for i in iterations for c in i.candidates if c.given == given.number), None
    )
    return GivenView(
        number=given.number,
        origin=given.origin,
        parent=key_to_id(job_id, given.parent) if given.parent else None,
        note=given.note,
        source=given.source,
        candidate=key_to_id(job_id, became) if became else None,
    )
