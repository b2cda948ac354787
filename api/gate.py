"""How many requests a server works on at a time, how many may wait, and for how long.

A server that takes in more than it can do answers everybody late, and in the end works for clients that
have gone.  So some requests are worked on, some wait for their turn, in the order in which they came,
and all others are told at once to come back.  Who has left meanwhile is not worked for, and who
has waited too long is told so.  A request whose body is still on its way takes no room yet, and an
answer that has begun, or is held back on purpose, takes none any more; but nobody has all of those.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.arriving import MOST_HELD, MOST_HELD_FOR_ONE, Arriving, address_of, overloaded
from api.callers import too_many
from api.errors import ApiError
from api.handlers import refuse
from api.shares import Shares

WAITING = 5  # requests that may wait for each that is worked on
WAIT_SECONDS = 2.0
MOST_OPEN = 1_000  # answers under way, event streams included
PARTS = 4  # of these, one for each owner, and for each address that has shown no key yet
OWN_ANSWERS_SECONDS = 5.0
ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})  # what a monitor asks when all is not well


@dataclass(slots=True)
class Room:
    """Where requests are worked on, and the line before it.

    Attributes:
        at_once: how many it holds.
        streams: event streams that one owner may have open.
        at_work: how many are in it.
        answers: those that have not ended, by owner or address; those that need no room included.
        bodies:  bytes that are held of what clients send, by address.
    """

    at_once: int
    streams: int = 0
    at_work: int = 0
    answers: Shares = field(init=False)
    bodies: Shares = field(default_factory=lambda: Shares(MOST_HELD, MOST_HELD_FOR_ONE))
    _line: deque[asyncio.Future[None]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        """Part the answers; nobody's share is less than what other limits allow."""
        most_in_line = (1 + WAITING) * self.at_once
        share = max(MOST_OPEN // PARTS, most_in_line, self.streams + self.at_once)
        self.answers = Shares(MOST_OPEN, share)

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


@dataclass(slots=True)
class Stay:
    """What one request takes up from its arrival until its answer has ended.

    Attributes:
        until_end: what is to be given back then.
    """

    room: Room
    until_end: ExitStack
    _name: str | None = None
    _inside: bool = False

    def begin(self, address: str) -> None:
        """Count the answer as one of an address.

        Raises:
            ApiError: there are too many, of the same or of all.
        """
        name = f"address {address}"
        if limit := self.room.answers.refusal(name):
            raise overloaded(f"{limit} answers are under way")
        self.room.answers.take(name)
        self._name = name
        self.until_end.callback(self._end)

    def belong_to(self, owner: str) -> None:
        """Count the answer as one of an owner, who is known by now.

        Raises:
            ApiError: there are too many of the same owner.
        """
        answers, name = self.room.answers, f"owner {owner}"
        if self._name in (None, name):
            return
        if answers.taken[name] >= answers.share:
            said = f"{answers.share} answers are under way for the same owner"
            raise too_many(said, OWN_ANSWERS_SECONDS)
        answers.give_back(self._name)
        answers.take(name)
        self._name = name

    async def enter(self) -> bool:
        """Go into the room when it is this request's turn; tell whether that took a while.

        Raises:
            ApiError: it cannot be.
        """
        waited = not self.room.enter()
        if waited and (refusal := await self.room.wait()):
            raise overloaded(refusal)
        self._inside = True
        return waited

    def leave(self) -> None:
        """Go out of the room, if that has not happened already."""
        if self._inside:
            self._inside = False
            self.room.leave()

    def _end(self) -> None:
        self.leave()
        if self._name is not None:
            self.room.answers.give_back(self._name)


class Gate:
    """Lets requests in, one after another."""

    def __init__(self, app: ASGIApp, room: Room) -> None:
        self.app, self.room = app, room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when it is its turn, or turn it away."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with ExitStack() as until_end:
            stay = scope.setdefault("state", {})["stay"] = Stay(self.room, until_end)
            if scope["path"] in ALWAYS:
                await self.app(scope, receive, send)
            else:
                await self._serve(scope, receive, send, stay)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, stay: Stay) -> None:
        body = Arriving(scope, receive, self.room.bodies, stay.until_end)
        try:
            await body.read()
            stay.begin(address_of(scope))
            if await stay.enter() and await body.is_gone():
                return
        except ApiError as error:
            await refuse(Request(scope), error)(scope, receive, send)
            return

        async def leaving(message: Message) -> None:
            stay.leave()
            await send(message)

        await self.app(scope, body.receive, leaving)
