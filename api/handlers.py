"""Every way a request can end badly, answered as a problem."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from api import kinds
from api.errors import (
    MEDIA_TYPE,
    ApiError,
    FieldProblem,
    Problem,
    kind_of,
    printable,
    problem,
    problem_of,
)
from api.headers import request_id, seal
from api.kinds import Kind
from core.errors import InvalidInput, RewardsmithError

log = logging.getLogger(__name__)
MAX_PLACES = 20
RETRY_AFTER = "5"
_LATER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)

_BY_STATUS = {
    400: kinds.MALFORMED,
    404: kinds.NO_SUCH_PATH,
    405: kinds.METHOD_NOT_ALLOWED,
    413: kinds.BODY_TOO_LARGE,
}


def install(app: FastAPI) -> None:
    """Let the app answer every failure with a problem."""
    app.add_exception_handler(RewardsmithError, _house_error)
    app.add_exception_handler(ApiError, refuse)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _fault)


def answer(request: Request, said: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return the problem as an answer."""
    response = JSONResponse(
        said.model_dump(mode="json"),
        status_code=said.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )
    # A fault is answered outside the envelope, so every problem is sealed here as well.
    seal(response.headers, request_id(request))
    if said.status in _LATER:
        response.headers.setdefault("Retry-After", RETRY_AFTER)
    return response


def _house_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RewardsmithError)
    return answer(request, said_of_house(request, error))


def said_of_house(request: Request, error: RewardsmithError) -> Problem:
    """Say an error of the house as a problem; faults of its own are logged, and no stranger's business.

    They name hosts, users and folders.  Whoever reaches a server without keys is at home there.
    """
    said = problem_of(error, request.url.path, request_id(request))
    if said.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return said
    log.error("%s: %s", said.request_id, error)
    at_home = request.app.state.house.keyless or hasattr(request.state, "visitor")
    return said if at_home else _said(request, kind_of(error), "the server's log tells more")


def refuse(request: Request, error: Exception) -> JSONResponse:
    """Answer what only the API refuses."""
    assert isinstance(error, ApiError)
    said = _said(request, error.kind, error.detail, at=error.at, hint=error.hint)
    return answer(request, said, error.headers)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code) or _plain_kind(error.status_code)
    detail, headers = str(error.detail), dict(error.headers or {})
    if error.status_code == HTTPStatus.NOT_FOUND:
        kind, detail = _not_found(request.url.path)
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router knows only the verbs of the first route at the path.
        headers["Allow"] = ", ".join(_verbs(request)) or headers.get("Allow", "GET")
        detail = f"expected {headers['Allow']}, but found {request.method}"
    return answer(request, _said(request, kind, detail), headers)


def _verbs(request: Request) -> list[str]:
    """Return the verbs that the documented operations at the request's path take.

    A path that is spelt out stands before one that a parameter would fit.
    """
    paths = request.app.openapi()["paths"]
    here = [path for path in paths if compile_path(path)[0].match(request.url.path)]
    least = min((path.count("{") for path in here), default=0)
    return sorted({v.upper() for path in here if path.count("{") == least for v in paths[path]})


def _not_found(path: str) -> tuple[Kind, str]:
    first = path.strip("/").split("/", 1)[0]
    if first != "v1" and first[:1] == "v" and first[1:].isdigit():
        return kinds.WRONG_VERSION, f"expected a path under /v1, but found /{first}"
    return kinds.NO_SUCH_PATH, f"nothing is served at {path}"


def _plain_kind(status: int) -> Kind:
    title = HTTPStatus(status).phrase
    return Kind("bad-request", status, title, kinds.BAD_REQUEST.hint)


def _fault(request: Request, error: Exception) -> JSONResponse:
    name = request_id(request)
    log.error("%s: %s %s broke", name, request.method, request.url.path, exc_info=error)
    kind = kinds.ERRORS[RewardsmithError]
    return answer(request, _said(request, kind, "an unexpected error, which has been logged"))


def _said(
    request: Request,
    kind: Kind,
    detail: str,
    *,
    at: Iterable[FieldProblem] = (),
    hint: str | None = None,
) -> Problem:
    return problem(
        kind,
        detail,
        instance=request.url.path,
        request_id=request_id(request),
        at=tuple(at),
        hint=hint,
    )


# --- validation -------------------------------------------------------------------------------


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return answer(request, explain(request, error))


def explain(request: Request, error: RequestValidationError) -> Problem:
    """Name every wrong place.  The values themselves are not echoed: they may be NaN, or hostile."""
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        item = found[0]
        reason = item.get("ctx", {}).get("error", "not JSON")
        detail = f"expected JSON, but reading stopped at character {item['loc'][-1]}: {reason}"
        return _said(request, kinds.MALFORMED, detail)
    if any(tuple(item["loc"]) == ("body",) for item in found) and (detail := _other_type(request)):
        return _said(request, kinds.MALFORMED, detail)
    places = [FieldProblem(pointer=_place(i), message=_message(i)) for i in found]
    detail = "; ".join(f"{p.pointer}: {p.message}" for p in places[:3])
    more = f"; and {len(places) - 3} more" if len(places) > 3 else ""
    kind = kinds.ERRORS[InvalidInput]
    return _said(request, kind, detail + more, at=places[:MAX_PLACES])


def _other_type(request: Request) -> str:
    """Say that the body was not announced as JSON, and so was not read; "" if it was."""
    found = request.headers.get("content-type")
    kind = (found or "").partition(";")[0].strip().lower()
    if kind.endswith(("/json", "+json")):
        return ""
    named = "no such header" if found is None else repr(printable(found, 100))
    return f"expected the header Content-Type: application/json, but found {named}"


def _place(item: dict[str, Any]) -> str:
    known = item.get("ctx", {}).get("pointer") if item["type"] == "unacceptable" else None
    return pointer(item["loc"]) if known is None else printable(known or "/", 300)


def pointer(place: Iterable[str | int]) -> str:
    """Return a JSON pointer into the body, or the name of a header, query or path entry.

    >>> pointer(("body", "task", "task:full", "fields", 0, "name"))
    '/task/fields/0/name'
    """
    first, *rest = [str(part) for part in place]
    parts = [part.replace("~", "~0").replace("/", "~1") for part in rest if part[:5] != "task:"]
    start = "" if first == "body" else first
    return printable("/".join([start, *parts]) or "/", 300)


def _message(item: dict[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown field; remove it or correct its spelling"
    if item["type"] == "missing":
        return "required, but missing"
    if item["type"] == "too_long" and isinstance(item.get("input"), str):
        most, size = item["ctx"]["max_length"], item["ctx"]["actual_length"]
        return f"expected at most {most} characters, but found {size}"
    return printable(str(item["msg"]).removeprefix("Value error, "), 500)
