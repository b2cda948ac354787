"""From an error of the house to an RFC 9457 problem; `api.kinds` has the table.

Every refusal is an RFC 9457 problem: `type`, `title`, `status`, `detail`, `instance`, and beyond the
standard `code`, `errors`, `request_id` and a `hint` in plain words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from api.kinds import ERRORS, KINDS, OTHER_FAILURE, TELLS_ITSELF, Kind
from core import errors

MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """One place in the request that cannot be accepted."""

    pointer: str = Field(
        description="JSON pointer into the body, or `header/…`, `query/…`, `path/…`."
    )
    message: str


class Problem(BaseModel):
    """What went wrong, for people and for programs (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/not-found",
                    "title": "There is nothing under that id",
                    "status": 404,
                    "detail": "no job job_01jd7v8a3bqk2m5c6x9z0w4e1r",
                    "instance": "/v1/jobs/job_01jd7v8a3bqk2m5c6x9z0w4e1r",
                    "code": "not-found",
                    "errors": [],
                    "request_id": "req_5f0c2d9a7e134b6c",
                    "hint": "List what there is with GET /v1/jobs.",
                }
            ]
        }
    )

    type: str = Field(description="Where this kind of problem is explained.")
    title: str = Field(description="The kind of problem; the same words every time.")
    status: int
    detail: str = Field(description="What happened this time.")
    instance: str | None = Field(default=None, description="The path that was asked for.")
    code: str = Field(description="Short name of the kind, for programs.")
    errors: list[FieldProblem] = []
    request_id: str | None = Field(
        default=None, description="Names this request in the server's log."
    )
    hint: str | None = Field(default=None, description="What to do about it.")


class ApiError(Exception):
    """A refusal that only the API knows, such as a download before there is anything to download."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        at: Sequence[FieldProblem] = (),
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind, self.detail, self.at, self.hint = kind, detail, tuple(at), hint
        self.headers = dict(headers or {})
        super().__init__(detail)


class InvalidField(errors.InvalidInput):
    """Input that is wrong at one place, with the JSON pointer to it."""

    def __init__(
        self,
        found: str,
        *,
        pointer: str,
        expected: str | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.pointer = pointer
        super().__init__(found, expected=expected, where=where, hint=hint)


class RefusedProgram(errors.ProgramRejected):
    """A program of the user's that breaks a rule, with the JSON pointer to it."""

    def __init__(self, error: errors.ProgramRejected, pointer: str) -> None:
        self.pointer = pointer
        super().__init__(
            error.found,
            rule=error.rule,
            expected=error.expected,
            where=error.where,
            hint=error.hint,
        )


# Where in the body the names stand that the house refuses.
PLACES: Mapping[type[errors.RewardsmithError], str] = {
    errors.UnknownTask: "/task",
    errors.UnknownMethod: "/method",
    errors.UnknownDesigner: "/designer/name",
    errors.InvalidFitness: "/task/fitness",
}


def kind_of(error: errors.RewardsmithError) -> Kind:
    """Return the kind of the error's class, or of the nearest ancestor that has one."""
    return next(ERRORS[cls] for cls in type(error).__mro__ if cls in ERRORS)


def problem(
    kind: Kind,
    detail: str,
    *,
    instance: str | None = None,
    request_id: str | None = None,
    at: Sequence[FieldProblem] = (),
    hint: str | None = None,
) -> Problem:
    """Put a problem together; `hint` replaces the usual advice of its kind."""
    return Problem(
        type=f"/problems/{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=printable(detail),
        instance=printable(instance) if instance else None,
        code=kind.code,
        errors=list(at),
        request_id=request_id,
        hint=printable(hint or kind.hint),
    )


def problem_of(error: errors.RewardsmithError, instance: str, request_id: str | None) -> Problem:
    """Say an error of the house as a problem."""
    kind = kind_of(error)
    detail = errors.RewardsmithError(
        error.found, expected=error.expected, where=error.where
    ).sentence()
    if isinstance(error, InvalidField | RefusedProgram):
        place: str | None = error.pointer
    else:
        place = PLACES.get(type(error))
    at = [FieldProblem(pointer=place, message=printable(detail))] if place else []
    return problem(kind, detail, instance=instance, request_id=request_id, at=at, hint=error.hint)


def problem_of_failure(reason: str, message: str, instance: str) -> Problem:
    """Say a failed job's stored reason as the same problem that the API would have answered."""
    kind = KINDS.get(reason.replace("_", "-"), OTHER_FAILURE)
    said = problem(kind, message, instance=instance)
    return said.model_copy(update={"hint": None}) if kind.code in TELLS_ITSELF else said


_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def printable(text: str, limit: int = 2_000) -> str:
    """Return text that is safe to send back: no controls, no lone surrogates, not endless."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text[:limit])
