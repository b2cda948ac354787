"""What every answer carries: a request id, and headers that keep a browser from running anything.

Each is told to the log, with who asked for what, and never with what was said.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.requests import route_of

STRICT = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
log = logging.getLogger("rewardsmith.api")
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


_SEALS = [
    (b"content-security-policy", STRICT.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class Envelope:
    """Give every request an id, and every answer the security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and seal the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if _REQUEST_ID.match(asked) else f"req_{secrets.token_hex(8)}"
        scope.setdefault("state", {})["request_id"] = request_id

        began, status = time.perf_counter(), int(HTTPStatus.INTERNAL_SERVER_ERROR)
        streamed = False

        async def sealed(message: Message) -> None:
            nonlocal status, streamed
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                streamed = headers.get("content-type", "").startswith("text/event-stream")
                seal(headers, request_id)
            await send(message)

        try:
            await self.app(scope, receive, sealed)
        finally:
            seconds = time.perf_counter() - began
            scope["app"].state.house.requests.count(scope, status, seconds, streamed=streamed)
            _tell(scope, status, seconds)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    """Log a request: changes and refusals as news, what was merely read as details."""
    news = scope["method"] not in ("GET", "HEAD") or status >= HTTPStatus.BAD_REQUEST
    level = logging.INFO if news else logging.DEBUG
    if not log.isEnabledFor(level):
        return
    state = scope["state"]
    caller = state.get("caller")
    told = {
        "method": scope["method"],
        "route": route_of(scope),
        "status": status,
        "seconds": round(seconds, 4),
        "request_id": state["request_id"],
        "owner": caller.owner if caller else None,
        "key_id": caller.key_id if caller else None,
        **{
            name: value[:80] for name, value in scope.get("path_params", {}).items() if _is_id(name)
        },
    }
    log.log(level, "request", extra={k: v for k, v in told.items() if v is not None})


def _is_id(name: str) -> bool:
    return name in ("job_id", "candidate_id", "run_id")


def seal(headers: MutableHeaders, request_id: str | None) -> None:
    """Set the headers that every answer has, unless the route chose its own."""
    present = {name for name, _ in headers.raw}
    headers.raw.extend(pair for pair in _SEALS if pair[0] not in present)
    if request_id:
        headers.setdefault("X-Request-ID", request_id)


def request_id(request: Request) -> str | None:
    """Return the id that the request was given."""
    found: str | None = getattr(request.state, "request_id", None)
    return found
