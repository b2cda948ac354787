"""What goes wrong with a page is told as a page, and who is not known is asked to sign in."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from api import kinds
from api.errors import ApiError, Problem, problem
from api.handlers import explain, said_of_house
from api.headers import request_id
from api.pages.door import LONGEST_ADDRESS, sent_from
from api.pages.render import page
from core.errors import RewardsmithError

JOBS = "/jobs"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose refusals people read."""

    def get_route_handler(self) -> Handler:
        """Return the handler, with every refusal answered as a page."""
        inner = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await inner(request)
            except (RewardsmithError, ApiError, RequestValidationError) as error:
                return answer(request, said_of(request, error))

        return handled


def page_router() -> APIRouter:
    """Return an empty router for a page, whose refusals are told as pages."""
    return APIRouter(include_in_schema=False, route_class=PageRoute)


def said_of(request: Request, error: Exception) -> Problem:
    """Return an error as the problem that the API would answer."""
    name = request_id(request)
    if isinstance(error, RewardsmithError):
        return said_of_house(request, error)
    if isinstance(error, ApiError):
        return problem(
            error.kind,
            error.detail,
            instance=request.url.path,
            request_id=name,
            at=error.at,
            hint=error.hint,
        )
    assert isinstance(error, RequestValidationError)
    return explain(request, error)


def answer(request: Request, said: Problem) -> Response:
    """Return a page that tells a problem; the sign-in page where a key is missing."""
    if said.code == kinds.NO_KEY.code:
        return RedirectResponse(f"/signin?next={quote(_following(request))}", 303)
    response = page(request, "trouble.html", said.status, problem=said, owner=None)
    if said.status in (429, 503):
        response.headers["Retry-After"] = "5"
    return response


def _following(request: Request) -> str:
    """Return where to go after the sign-in: what was asked for, or the page whose form was sent."""
    if request.method in ("GET", "HEAD"):
        query = request.url.query
        address = quote(request.url.path) + (f"?{query}" if query else "")
    else:
        address = sent_from(request) or JOBS
    return address if len(address) <= LONGEST_ADDRESS else JOBS
