"""A few connections to PostgreSQL for the requests of one event loop, each used by one at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from core.storage.postgres import ANSWER_SECONDS, ARGUMENTS
from core.storage.wire import Wire

MOST = 16  # commits that wait for the disk at the same time wait together
LINE_SECONDS = 5.0
# What is only read is read as of one moment; who writes says otherwise where the transaction begins.
_OPTIONS = f"{ARGUMENTS['options']} -c default_transaction_isolation=repeatable\\ read"


class Connections:
    """Opens connections when they are needed, keeps them, and lets nobody have more than there are.

    A connection belongs to no event loop while nobody uses it.
    """

    def __init__(self, arguments: Mapping[str, Any], most: int = MOST) -> None:
        self._arguments = {**arguments, **ARGUMENTS, "options": _OPTIONS}
        self._room = most
        self._free: list[Wire] = []  # the one that was used last is taken first
        self._line: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Wire]:
        """Yield a connection on which no transaction is open; who leaves one open breaks it.

        Raises:
            psycopg.OperationalError: there is none to be had, or no answer came in time.
        """
        await self._enter()
        try:
            wire = await self._taken()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    yield wire
            except TimeoutError as error:
                raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS:g} s") from error
            finally:
                if wire.resting:
                    self._free.append(wire)
                else:
                    wire.cut()
        finally:
            self._leave()

    def forget(self) -> None:
        """Close what nobody uses: PostgreSQL went, and took all connections with it."""
        while self._free:
            self._free.pop().cut()

    async def _taken(self) -> Wire:
        if self._free:
            return self._free.pop()
        return Wire(await psycopg.AsyncConnection.connect(**self._arguments, autocommit=True))

    async def _enter(self) -> None:
        if self._room:
            self._room -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(LINE_SECONDS):
                await turn
        except TimeoutError as error:
            if turn.cancelled():  # and did not come at the last moment
                raise psycopg.OperationalError("all connections are in use") from error
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)  # whose turn it is takes over the room
                return
        self._room += 1
