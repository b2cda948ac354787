"""The load: requests that come when they come, whether or not earlier ones were answered.

    python -m bench.load.traffic < order.json > found.json

A process of its own.  HTTP is spoken here in the little that is needed (kept connections, one request
at a time on each, bodies with a length), because a client that shares two cores with what it measures
has to cost much less than a request does.  A request counts from the moment at which it was due, so
what waits in the client because the server is slow is the server's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import re
import sys
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

MOST_CONNECTIONS = 200
ANSWER_SECONDS = 30.0  # after which a request has failed, wherever it waited
AGAIN = 50  # one submission in so many repeats the key and body of an earlier one
KEPT_SECONDS = 5.0  # for which an idle connection is used again, as client libraries do
RECENT = 2_000  # jobs that are asked about
_ID = re.compile(rb'"id":"(job_[0-9a-z]{26})"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes:
        port:        of the server on the loopback.
        keys:        that open it, one per owner.
        submissions: a second.
        polls:       a second: nine of ten read a job, the tenth its events.
        seconds:     in which everything is counted.
        warm_up:     seconds before that, in which nothing is.
        seed:        of the arrivals.
        known:       (job, owner's place in `keys`) that exist already.
    """

    port: int
    keys: Sequence[str]
    submissions: float
    polls: float
    seconds: float
    warm_up: float
    seed: int
    known: Sequence[tuple[str, int]] = ()


class Broken(Exception):
    """An exchange that came to no answer."""


class Connection(asyncio.Protocol):
    """One kept connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._said = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.open = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.open = transport, True

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; the future is its status and body."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._said += data
        end = self._said.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._said, 0, end + 2)
        if length is None:
            self._end(Broken("an answer without a length"))
            return
        whole = end + 4 + int(length[1])
        if len(self._said) < whole:
            return
        status, body = int(self._said[9:12]), bytes(self._said[end + 4 : whole])
        del self._said[:whole]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self._end(Broken("the connection was closed"))

    def close(self) -> None:
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: Broken) -> None:
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Pool:
    """Connections to one server; who finds none free and may open none waits in line."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)
        self.opened = 0

    async def exchange(self, request: bytes, until: float) -> tuple[int, bytes]:
        """Send a request and return status and body, both by a moment of the loop's clock.

        Raises:
            Broken, OSError, TimeoutError: there is no answer.
        """
        async with asyncio.timeout_at(until), self._room:
            connection = await self._connection()
            try:
                answer = await connection.ask(request)
            except BaseException:
                connection.close()
                raise
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
            return answer

    async def _connection(self) -> Connection:
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.open and loop.time() - connection.idle_since < KEPT_SECONDS:
                return connection
            connection.close()
        self.opened += 1
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        return connection

    def close(self) -> None:
        """Close what is open."""
        for connection in self._idle:
            connection.close()


@dataclass
class Kind:
    """What became of one kind of request."""

    due: int = 0
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def told(self, seconds: float) -> Json:
        """Return counts, rates and latencies."""
        times = sorted(self.seconds)
        return {
            "due": self.due,
            "answered": len(times),
            "per_second": round(len(times) / seconds, 1),
            "p50_ms": milliseconds(times, 0.5),
            "p99_ms": milliseconds(times, 0.99),
            "max_ms": milliseconds(times, 1.0),
            "errors": dict(self.errors),
        }


def milliseconds(ordered: Sequence[float], share: float) -> float | None:
    """Return a quantile of ordered seconds, by the nearest rank, in milliseconds.

    >>> milliseconds([0.001, 0.002, 0.003, 0.1], 0.5), milliseconds([], 0.5)
    (2.0, None)
    """
    if not ordered:
        return None
    rank = max(0, -int(-len(ordered) * share // 1) - 1)
    return round(1e3 * ordered[rank], 1)


class Traffic:
    """One run of an order."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.chance = random.Random(order.seed)
        self.pool = Pool(order.port)
        self.submissions, self.polls = Kind(), Kind()
        self.accepted: list[tuple[str, int]] = []
        self.recent = deque(order.known, maxlen=RECENT)
        self.sent: deque[tuple[bytes, str]] = deque(maxlen=RECENT)
        self.counting = False
        self.most_late = 0.0

    async def run(self) -> Json:
        """Let everything happen, wait for what is under way, and tell what was found."""
        loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        begun = loop.time() + 0.05
        counted_from = begun + self.order.warm_up
        for at, kind in self._arrivals():
            due = begun + at
            if (wait := due - loop.time()) > 0.0:
                await asyncio.sleep(wait)
            counts = due >= counted_from
            if counts:
                self.most_late = max(self.most_late, loop.time() - due)
            task = loop.create_task(
                self._submit(due, counts) if kind == "submission" else self._poll(due, counts)
            )
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)
        seconds = max(loop.time() - counted_from, self.order.seconds)
        self.pool.close()
        return {
            "submissions": self.submissions.told(seconds),
            "polls": self.polls.told(seconds),
            "seconds": round(seconds, 2),
            "connections": self.pool.opened,
            "generator_late_ms": round(1e3 * self.most_late, 1),
            "accepted": self.accepted,
        }

    def _arrivals(self) -> Iterator[tuple[float, str]]:
        """Yield when what comes: two streams without memory, as those of many strangers are."""
        rates = {"submission": self.order.submissions, "poll": self.order.polls}
        total, end = sum(rates.values()), self.order.warm_up + self.order.seconds
        at = self.chance.expovariate(total)
        while at < end:
            yield at, self.chance.choices(list(rates), list(rates.values()))[0]
            at += self.chance.expovariate(total)

    async def _submit(self, due: float, counts: bool) -> None:
        again = self.sent and self.chance.randrange(AGAIN) == 0
        if again:
            request, expected = self.chance.choice(self.sent)
            owner = None
        else:
            owner = self.chance.randrange(len(self.order.keys))
            request, expected = self._submission(owner), None
        found = await self._count(self.submissions, request, 202, due, counts)
        if found is None:
            return
        if owner is None:
            if found != expected:
                self.submissions.errors["a repeated key made another job"] += 1
            return
        self.accepted.append((found, owner))
        self.recent.append((found, owner))
        self.sent.append((request, found))

    async def _poll(self, due: float, counts: bool) -> None:
        if not self.recent:
            return
        job, owner = self.chance.choice(self.recent)
        events = self.chance.randrange(10) == 0
        request = self._read(f"/v1/jobs/{job}{'/events' if events else ''}", owner)
        found = await self._count(self.polls, request, 200, due, counts)
        if found is not None and not events and found != job:
            self.polls.errors["another job than was asked for"] += 1

    async def _count(
        self, kind: Kind, request: bytes, status: int, due: float, counts: bool
    ) -> str | None:
        """Exchange one request; return the id of the job in a good answer, or nothing."""
        kind.due += counts
        try:
            found, body = await self.pool.exchange(request, due + ANSWER_SECONDS)
        except (Broken, OSError, TimeoutError) as error:
            kind.errors[f"{type(error).__name__}: {error}"] += 1
            return None
        if found != status:
            kind.errors[f"status {found}"] += 1
            return None
        if counts:
            kind.seconds.append(asyncio.get_running_loop().time() - due)
        named = _ID.search(body)
        return named[1].decode() if named else ""

    def _submission(self, owner: int) -> bytes:
        body = json.dumps(
            {
                "task": "cartpole-park",
                "iterations": 1,
                "candidates": 2,
                "seed": self.chance.randrange(2**31),
            }
        )
        key = uuid.UUID(int=self.chance.getrandbits(128))
        return (
            f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.order.keys[owner]}\r\nIdempotency-Key: {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def _read(self, path: str, owner: int) -> bytes:
        return (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.order.keys[owner]}\r\n\r\n"
        ).encode()


def main() -> None:
    order = Order(**json.load(sys.stdin))
    gc.disable()  # a pause of ours would be counted as the server's; a run is short
    json.dump(asyncio.run(Traffic(order).run()), sys.stdout)


if __name__ == "__main__":
    main()
