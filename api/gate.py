"""How many requests a server works on at a time, how many may wait, and for how long.

A server that takes in more than it can do answers everybody late, and in the end works for clients that
have gone.  So some requests are worked on, some wait for their turn, in the order in which they came,
and all others are told at once to come back.  Who has left meanwhile is not worked for, and who
has waited too long is told so.  An answer that has begun, or is held back on purpose, takes no
room any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import kinds
from api.errors import ApiError
from api.handlers import refuse

WAITING = 5  # requests that may wait for each that is worked on
WAIT_SECONDS = 2.0
MOST_OPEN = 1_000  # answers under way, event streams included
RETRY_SECONDS = 1
ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})  # what a monitor asks when all is not well


@dataclass(slots=True)
class Room:
    """Where requests are worked on, and the line before it.

    Attributes:
        at_once: how many it holds.
        at_work: how many are in it.
        under_way: answers that have not ended, those that need no room included.
    """

    at_once: int
    at_work: int = 0
    under_way: int = 0
    _line: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def enter(self) -> bool:
        """Go in, if there is room."""
        if self.at_work >= self.at_once:
            return False
        self.at_work += 1
        return True

    def leave(self) -> None:
        """Go out; whoever has waited longest goes in."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.at_work -= 1

    async def wait(self) -> str:
        """Wait to go in; return why that cannot be, or nothing."""
        most = WAITING * self.at_once
        if self.waiting >= most:
            return f"{most} requests are waiting already"
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except TimeoutError:
            if turn.cancelled():  # and its turn did not come at the last moment
                self._line.remove(turn)
                return f"it was not this request's turn within {WAIT_SECONDS:g} s"
        except asyncio.CancelledError:
            if turn.cancelled():
                self._line.remove(turn)
            else:
                self.leave()
            raise
        return ""


class Gate:
    """Lets requests in, one after another."""

    def __init__(self, app: ASGIApp, room: Room) -> None:
        self.app, self.room = app, room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when it is its turn, or turn it away."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self.app(scope, receive, send)
            return
        if self.room.under_way >= MOST_OPEN:
            await _refuse(scope, receive, send, f"{MOST_OPEN} answers are under way")
            return
        self.room.under_way += 1
        try:
            await self._admit(scope, receive, send)
        finally:
            self.room.under_way -= 1

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.room.enter():
            if refusal := await self.room.wait():
                await _refuse(scope, receive, send, refusal)
                return
            gone, receive = await _look(receive)
            if gone:
                self.room.leave()
                return
        await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        leave = scope.setdefault("state", {})["leave"] = _once(self.room.leave)

        async def leaving(message: Message) -> None:
            leave()
            await send(message)

        try:
            await self.app(scope, receive, leaving)
        finally:
            leave()


def _once(act: Callable[[], None]) -> Callable[[], None]:
    """Return what does something when it is called for the first time."""
    done = False

    def called() -> None:
        nonlocal done
        if not done:
            done = True
            act()

    return called


async def _refuse(scope: Scope, receive: Receive, send: Send, detail: str) -> None:
    headers = {"Retry-After": str(RETRY_SECONDS)}
    error = ApiError(kinds.OVERLOADED, detail, headers=headers)
    await refuse(Request(scope), error)(scope, receive, send)


async def _look(receive: Receive) -> tuple[bool, Receive]:
    """Tell whether the client has gone, without waiting for it; and how to read from now on."""
    message: Message | None = None
    with anyio.CancelScope() as at_once:
        at_once.cancel()
        message = await receive()
    if message is None:
        return False, receive
    read: list[Message] = [message]

    async def again() -> Message:
        return read.pop() if read else await receive()

    return message["type"] == "http.disconnect", again
