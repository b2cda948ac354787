"""Short cuts: the plainest form of the commonest requests, past FastAPI's general machinery.

It resolves every parameter and dependency anew for each request, which costs as much as the answer.  A
route may name somebody who answers requests that say nothing unusual; all others, and all that
cannot be read, go the long way, which knows what to say of them.  What the documentation, the checks
and the errors are is told there alone.

The general machinery parses a body before it asks for the key.  A long one takes time in which nobody
else is served, so of long ones the key is asked first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.callers import BEARER, Find, usual_scope
from api.dependencies import Visit, admit, house, migrated, visit
from api.limits import MAX_BODY_BYTES

ShortCut: TypeAlias = Callable[[Request], Awaitable[Response | None]]
F = TypeVar("F", bound=Callable[..., Any])

LONGEST_ID = 200
LONGEST_BODY = 8 * 1024  # bytes
_BEARER = b"bearer "
_UNUSUAL = frozenset({b"prefer", b"last-event-id", b"cookie"})
_NAME = "short_cut"


def short_cut(answer: ShortCut) -> Callable[[F], F]:
    """Name who answers plain requests to an endpoint; a None from there means: go the long way."""

    def named(endpoint: F) -> F:
        setattr(endpoint, _NAME, answer)
        return endpoint

    return named


class Route(APIRoute):
    """A route that takes its short cut where there is one, and reads nothing long of strangers."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        usual = super().get_route_handler()
        short: ShortCut | None = getattr(self.endpoint, _NAME, None)

        async def handle(request: Request) -> Response:
            if has_long_body(request):
                await migrated(request)
                await visit(request, await BEARER(request))
            elif short is not None and (response := await short(request)) is not None:
                return response
            return await usual(request)

        return handle


def has_long_body(request: Request) -> bool:
    """Tell whether a body takes time to be parsed, as far as its headers say how long it is."""
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not (length.isascii() and length.isdigit()):
        return True
    return len(length) > len(str(MAX_BODY_BYTES)) or int(length) > LONGEST_BODY


def key_in(request: Request) -> str | None:
    """Return the key that a plain request shows; None for any other request."""
    if request.scope["query_string"]:
        return None
    shown: str | None = None
    for name, value in request.scope["headers"]:
        if name in _UNUSUAL:
            return None
        if name == b"authorization":
            if shown is not None or value[: len(_BEARER)].lower() != _BEARER:
                return None
            shown = value[len(_BEARER) :].decode("latin-1").strip() or None
    return shown


def job_in(request: Request) -> str | None:
    """Return the job's id in the path, if it is not too long to be looked at."""
    job_id: str = request.path_params["job_id"]
    return job_id if len(job_id) <= LONGEST_ID else None


async def arrive(request: Request, key: str, find: Find | None = None) -> Visit:
    """Let in who shows a key, exactly as the long way does.

    Raises:
        ApiError, StorageFailed: as `api.dependencies.visit`.
    """
    await migrated(request)
    visitor = await admit(request, await house(request), key, find)
    visitor.need(usual_scope(request.method))
    return visitor
