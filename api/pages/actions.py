"""What people do to a job from its page, by the same functions that the REST API calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import BackgroundTasks, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ValidationError

from api import cancelling, going_on, jobs, people
from api.bodies import MOST_AT_ONCE, CancelBody, ExtendBody, FeedbackBody, ForkBody
from api.dependencies import JobId, Visit
from api.errors import InvalidField
from api.pages.door import Writer
from api.pages.forms import Form, Sent
from api.pages.trouble import page_router

router = page_router()

Verb = Literal["cancel", "pause", "resume", "retry", "extend", "fork", "feedback", "delete"]


@router.post("/jobs/cancel")
def cancel_chosen(here: Writer, form: Form) -> Response:
    """Cancel the jobs that are ticked, each a field by its id; the list shows what came of it."""
    if ids := [name for name in form if name.startswith("job_")][:MOST_AT_ONCE]:
        cancelling.cancel_jobs(_checked(CancelBody, {"ids": ids}), here)
    return RedirectResponse("/jobs", 303)


@router.post("/jobs/{job_id}/{verb}")
def act(
    job_id: JobId, verb: Verb, here: Writer, form: Form, background: BackgroundTasks
) -> Response:
    """Do what was asked for and show the job again, or the new one."""
    where = _DO[verb](job_id, here, form, background)
    return RedirectResponse(where, 303, background=background)


def _cancel(job_id: str, here: Visit, form: Sent, background: BackgroundTasks) -> str:
    jobs.cancel_job(job_id, here)
    return f"/jobs/{job_id}"


def _pause(job_id: str, here: Visit, form: Sent, background: BackgroundTasks) -> str:
    jobs.pause_job(job_id, here)
    return f"/jobs/{job_id}"


def _resume(job_id: str, here: Visit, form: Sent, background: BackgroundTasks) -> str:
    jobs.resume_job(job_id, here, background)
    return f"/jobs/{job_id}"


def _retry(job_id: str, here: Visit, form: Sent, background: BackgroundTasks) -> str:
    going_on.retry_job(job_id, here, Response(), background)
    return f"/jobs/{job_id}"


def _extend(job_id: str, here: Visit, form: Sent, background: BackgroundTasks) -> str:
    body = _checked(ExtendBody, {"iterations": whole(form, "iterations", 1)})
    going_on.extend_job(job_id, body, here, Response(), background)
    return f"/jobs/{job_id}"


def _fork(job_id: str, here: Visit, form: Sent, background: BackgroundTasks) -> str:
    said: dict[str, object] = {}
    if "candidate" in form:
        said["candidate"] = form["candidate"]
    if "iterations" in form:
        said["overrides"] = {"iterations": whole(form, "iterations", 1)}
    made = going_on.fork_job(job_id, _checked(ForkBody, said), here, Response(), background)
    return f"/jobs/{made.id}"


def _feedback(job_id: str, here: Visit, form: Sent, background: BackgroundTasks) -> str:
    said: dict[str, object] = {k: v for k, v in form.items() if k in FeedbackBody.model_fields}
    if "value" in said:
        said["value"] = whole(form, "value", 0)
    said.setdefault("kind", "text")
    people.add_feedback(job_id, _checked(FeedbackBody, said), here, Response(), background)
    return f"/jobs/{job_id}"


def _delete(job_id: str, here: Visit, form: Sent, background: BackgroundTasks) -> str:
    jobs.delete_job(job_id, here)
    return "/jobs"


_DO = {
    "cancel": _cancel,
    "pause": _pause,
    "resume": _resume,
    "retry": _retry,
    "extend": _extend,
    "fork": _fork,
    "feedback": _feedback,
    "delete": _delete,
}


def whole(form: Sent, name: str, default: int) -> int:
    """Return a whole number that a form sends.

    Raises:
        InvalidField: it sends something else.
    """
    text = form.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError as error:
        raise InvalidField(
            repr(text[:40]), pointer=f"/{name}", expected="a whole number", where=name
        ) from error


def _checked(kind: type[Any], said: Mapping[str, object]) -> Any:  # Any: whichever body was named
    body: type[BaseModel] = kind
    try:
        return body.model_validate(said)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise RequestValidationError(
            [{**item, "loc": ("body", *item["loc"])} for item in found]
        ) from error
