"""A request's body on its way in: how large it may be, how long it may take, how much of it is held.

Most bodies are here in whole before their request is worked on, so that whoever sends slowly keeps no
place.  A job's export is longer than what is taken from strangers: it is read once the key is known.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import anyio
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from api import kinds
from api.errors import ApiError
from api.limits import IMPORT_PATH, MAX_BODY_BYTES, MAX_IMPORT_BYTES
from api.shares import Shares

BODY_SECONDS = 20.0
IMPORT_SECONDS = 120.0
MOST_HELD = 1 << 27  # bytes of all bodies in one process
MOST_HELD_FOR_ONE = 1 << 26  # of those that come from one address
RETRY_SECONDS = 1


def overloaded(detail: str) -> ApiError:
    """Return the refusal of what the server has no room for at the moment."""
    return ApiError(kinds.OVERLOADED, detail, headers={"Retry-After": str(RETRY_SECONDS)})


def address_of(scope: Scope) -> str:
    """Return where a request comes from; all from nowhere are one."""
    return scope["client"][0] if scope.get("client") else ""


class Arriving:
    """What the client sends after the headers, and whether it is still there."""

    def __init__(self, scope: Scope, receive: Receive, held: Shares, until_end: ExitStack) -> None:
        headers = Headers(scope=scope)
        self._announced = headers.get("content-length", "").lstrip("0")
        self._is_import = scope["path"] == IMPORT_PATH
        is_there = bool(self._announced) or "transfer-encoding" in headers
        self._is_read_ahead = is_there and not self._is_import
        self._most = MAX_IMPORT_BYTES if self._is_import else MAX_BODY_BYTES
        self._address, self._held = address_of(scope), held
        self._receive = receive
        self._until: float | None = None  # on the loop's clock, once it is waited for
        self._size, self._is_whole = 0, False
        self._kept: Message | None = None
        until_end.callback(self._let_go)

    async def receive(self) -> Message:
        """Return the next message, for whoever answers the request.

        Raises:
            ApiError: the body is too large or too slow, or nobody has room for it.
        """
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        return await (self._receive() if self._is_whole else self._next())

    async def read(self) -> None:
        """Take the whole body in, if there is one and it may come from anybody.

        Raises:
            ApiError: as `receive`, or the client has left before the body was whole.
        """
        if not self._is_read_ahead:
            return
        body = bytearray()
        while not self._is_whole:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ApiError(kinds.TOO_SLOW, "the client left before its body was whole")
            body += message.get("body", b"")
        self._kept = {"type": "http.request", "body": bytes(body), "more_body": False}

    async def is_gone(self) -> bool:
        """Tell whether the client has left, without waiting for it.

        Raises:
            ApiError: as `receive`.
        """
        message, was_whole = None, self._is_whole
        with anyio.CancelScope() as at_once:
            at_once.cancel()
            message = await (self._receive() if was_whole else self._next())
        if message is not None and not was_whole:
            self._kept = message
        return message is not None and message["type"] == "http.disconnect"

    async def _next(self) -> Message:
        if self._announced.isdecimal() and int(self._announced[:20]) > self._most:
            raise self._too_large()
        seconds = IMPORT_SECONDS if self._is_import else BODY_SECONDS
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            late = f"expected the whole body within {seconds:g} s"
            # Of a connection on which the rest may still come, nothing more is read.
            raise ApiError(kinds.TOO_SLOW, late, headers={"Connection": "close"}) from error
        self._is_whole = not message.get("more_body", False)
        self._hold(len(message.get("body", b"")))
        return message

    def _hold(self, size: int) -> None:
        if self._size + size > self._most:
            raise self._too_large()
        if limit := self._held.refusal(self._address, size):
            raise overloaded(f"no more than {limit} bytes of bodies are held at a time")
        self._held.take(self._address, size)
        self._size += size

    def _let_go(self) -> None:
        self._held.give_back(self._address, self._size)

    def _too_large(self) -> ApiError:
        return ApiError(
            kinds.BODY_TOO_LARGE, f"expected at most {self._most} bytes, but the body is larger"
        )
