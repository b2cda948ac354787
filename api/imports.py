"""Jobs that were exported elsewhere, taken in as the caller's own."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from api import openapi
from api.dependencies import Here, Visit
from api.jobs import IdempotencyKey
from api.limits import MAX_IMPORT_BYTES, check_json
from api.people import mark
from api.show import job_view, outcome_view
from api.submission import check_free_parts, show_spec
from api.views import JobView
from core.budgets import planned_cost
from core.errors import InvalidInput
from core.storage import StoredJob, Transcript, read_transcript

router = APIRouter(tags=["jobs"])

JSON_LINES = openapi.JsonLinesResponse.media_type
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"What `GET /v1/jobs/{{job_id}}/export` gave, {MAX_IMPORT_BYTES >> 20} MiB at "
        "most.",
        "content": {JSON_LINES: {"schema": {"type": "string"}}},
    }
}


@router.post(
    "/jobs/import",
    operation_id="import_job",
    summary="Import an exported job",
    status_code=status.HTTP_202_ACCEPTED,
    response_description="The job was accepted; a worker takes its facts in.",
    responses=openapi.refusals(408, 413, 422) | openapi.ACCEPTED,
    openapi_extra=_BODY,
)
async def import_job(
    request: Request,
    here: Here,
    response: Response,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Take in the history of a job that had ended, under a new id and as your own.

    Every line is checked before anything is stored. Files stay where they were; what named them is left
    out. An imported job can be looked at, compared, exported and forked, but not extended. A key needs
    the scope `code:submit`, for programs come along. Until it is answered, an import counts as an open
    event stream of its owner.
    """
    here.need("code:submit")
    here.take_a_stream()
    here.leave()  # it may be long on its way
    content = await request.body()
    with here.importing():
        job, replayed = await run_in_threadpool(_accept, here, content, idempotency_key)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    mark(response, replayed)
    background.add_task(here.wake, job.id)
    return job_view(job)


def _accept(here: Visit, content: bytes, key: str | None) -> tuple[StoredJob, bool]:
    text = _text(content)
    told = read_transcript(text, check_json)
    _check_shown(told)
    return here.store.imports.accept(
        told,
        text,
        idempotency_key=key,
        body_sha256=sha256(content).hexdigest(),
        most_open=here.settings.jobs_per_owner,
    )


def _check_shown(told: Transcript) -> None:
    """Refuse a job that could be stored and never shown: lists of jobs would break at it.

    Raises:
        InvalidInput: says what of the first line no job of this version has.
    """
    where = "an exported job, line 1"
    try:
        check_free_parts(told.head.spec)
        show_spec(told.head.spec)
        planned_cost(told.head.spec)
        outcome_view(told.head.id, told.head.outcome)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"{first['msg'].removeprefix('Value error, ')} at `{place}`",
            where=where,
            hint="Send an export as it was written.",
        ) from error
    except InvalidInput as error:
        raise InvalidInput(
            error.found, expected=error.expected, where=f"{where}, {error.where}", hint=error.hint
        ) from error


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{error}", expected="UTF-8", where="an exported job") from error
