"""Jobs that go on after their end: extended, retried, or forked into another job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Response, status
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api import downloads, errors, kinds, openapi
from api.bodies import ExtendBody, ForkBody, body_sha256
from api.dependencies import Here, JobId
from api.errors import InvalidField
from api.jobs import IdempotencyKey
from api.limits import MAX_ITERATIONS, MAX_PLANNED_STEPS
from api.people import candidate_key, mark
from api.programs import check_source, read_starts, task_of
from api.schemas import JobRequest
from api.short import Route
from api.show import job_view, key_to_id, submitted_view
from api.submission import check_priced, complete, show_spec
from api.views import JobView
from api.webhooks import read_webhook
from core.program import current_source
from core.records.people import Given
from core.records.spec import Budget
from core.storage import Extension, Request, Store, StoredCandidate

router = APIRouter(tags=["jobs"], route_class=Route)


@router.post(
    "/jobs/{job_id}/extend",
    operation_id="extend_job",
    summary="Let a job go on for longer",
    status_code=status.HTTP_202_ACCEPTED,
    responses=openapi.refusals(404, 408, 409, 413, 422) | openapi.repeatable(202),
)
def extend_job(
    job_id: JobId,
    body: ExtendBody,
    here: Here,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Add iterations, raise the budget, or measure programs of yours; all that is known stays.

    A job that had ended is confirmed again on fresh seeds, and each further look asks for a clearer
    difference: the verdict's threshold is divided by the number of confirmations. The former outcome
    stands in the event `job.extended`.
    """
    if any(start.source is not None for start in body.start):
        here.need("code:submit")
    known = here.store.job(job_id)
    task = task_of(known.spec, known.preflight)
    extension = Extension(
        iterations=body.iterations,
        budget=Budget(**body.budget.model_dump()),
        start=read_starts(here.store, body.start, task, known.spec.mode),
    )
    check_priced(replace(known.spec, budget=extension.budget), here.prices, here.model)
    request = Request(idempotency_key, body_sha256(body))
    job, replayed = here.store.extend(
        job_id,
        extension,
        MAX_ITERATIONS,
        request,
        most_open=here.settings.jobs_per_owner,
        most_steps=MAX_PLANNED_STEPS,
    )
    mark(response, replayed)
    background.add_task(here.wake, job_id)
    return job_view(job)


@router.post(
    "/jobs/{job_id}/retry",
    operation_id="retry_job",
    summary="Try a failed job again",
    status_code=status.HTTP_202_ACCEPTED,
    responses=openapi.refusals(404, 409, 422) | openapi.repeatable(202),
)
def retry_job(
    job_id: JobId,
    here: Here,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Let a failed or cancelled job go on from its last stored fact, once its cause was mended."""
    most_open = here.settings.jobs_per_owner
    job, replayed = here.store.retry(job_id, Request(idempotency_key), most_open=most_open)
    mark(response, replayed)
    background.add_task(here.wake, job_id)
    return job_view(job)


@router.post(
    "/jobs/{job_id}/fork",
    operation_id="fork_job",
    summary="Start another job from a candidate",
    status_code=status.HTTP_202_ACCEPTED,
    response_description="The new job was accepted; follow it under `Location`.",
    responses=openapi.refusals(404, 408, 413, 422) | openapi.ACCEPTED,
)
def fork_job(
    job_id: JobId,
    body: ForkBody,
    here: Here,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Submit a job for the same task, with other choices, that begins with a candidate's program.

    To carry a design over to another task, submit a job with `start` and the library instead.
    """
    parent = here.store.job(job_id)
    source, key = _program(here.store, job_id, body.candidate)
    request = _overridden(show_spec(parent.spec).model_dump(mode="json"), body)
    spec = complete(request)
    check_priced(spec, here.prices, here.model)
    task = task_of(parent.spec, parent.preflight)
    check_source(source, "/overrides", task, spec.mode)
    note = body.note or f"Candidate {key} of job {job_id}."
    herald = here.herald()
    job, replayed = here.store.create_job(
        spec,
        idempotency_key=idempotency_key,
        body_sha256=body_sha256(body, job_id),
        name=request.name,
        labels=request.labels,
        start=(Given(0, source, "fork", note=note),),
        most_open=here.settings.jobs_per_owner,
        webhook=read_webhook(request.webhook, here.settings, here.caller.owner),
        offer_seconds=herald.offer_seconds,
    )
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    mark(response, replayed)
    herald.go(background, job.id)
    return submitted_view(job)


def _program(store: Store, job_id: str, name: str | None) -> tuple[str, str]:
    """Return the source of a candidate, with the numbers in force, and its key."""
    key = candidate_key(job_id, name)
    stored: StoredCandidate
    if key is None:
        _, stored = downloads.best(store, job_id)
    else:
        stored = store.candidate(key_to_id(job_id, key))
    program = stored.candidate.program
    if program is None:
        reason = stored.candidate.rejection or "it has not been checked yet"
        raise errors.ApiError(kinds.NO_CODE, f"candidate {stored.id} has no program: {reason}")
    return current_source(program), stored.candidate.key


def _overridden(spec: Mapping[str, Any], body: ForkBody) -> JobRequest:
    """Return the request of the old job with the overrides laid over it.

    Raises:
        InvalidField: the task is to be another one.
        RequestValidationError: an override cannot be accepted; names its place.
    """
    if "task" in body.overrides or "start" in body.overrides:
        raise InvalidField(
            "`task` or `start`",
            pointer="/overrides",
            expected="entries of a job's request other than these two",
            hint='For another task, POST /v1/jobs with start: [{"library": "<job id>"}].',
        )
    merged = _merged(spec, body.overrides)
    if _other_learner(spec, body.overrides.get("training")):
        merged["training"]["settings"] = {}
    try:
        return JobRequest.model_validate(merged)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        places = [{**item, "loc": ("body", "overrides", *item["loc"])} for item in found]
        raise RequestValidationError(places) from error


def _other_learner(spec: Mapping[str, Any], asked: object) -> bool:
    """Tell whether another algorithm is named, to which the old one's settings do not belong."""
    if not isinstance(asked, Mapping) or "settings" in asked:
        return False
    return bool(
        asked.get("algorithm", spec["training"]["algorithm"]) != spec["training"]["algorithm"]
    )


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one object over another; objects inside both are merged, except the learner's settings."""
    merged = dict(below)
    for name, value in above.items():
        known = merged.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping) and name != "settings":
            merged[name] = _merged(known, value)
        else:
            merged[name] = value
    return merged
