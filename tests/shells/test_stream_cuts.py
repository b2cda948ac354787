"""A stream that is cut anywhere, and taken up with `Last-Event-ID`: every event once, in order.

A real server answers over real sockets; where a connection is cut is drawn from a seed.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import httpx2
import pytest

from client import transport
from client.aio import AsyncClient
from client.aio import transport as aio_transport
from client.api import Client
from core.storage import Store
from tests.shells import stories
from tests.shells.conftest import ON_SQLITE
from tests.shells.test_event_stream import SSE, events_of

EVENTS = 60
LONGEST_PIECE = 1_200  # bytes that a connection lives at most: a handful of events


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Look for new events, and come back after a cut, without a pause worth mentioning."""
    monkeypatch.setattr("api.events.POLL_SECONDS", 0.005)
    for one in (transport, aio_transport):
        monkeypatch.setattr(one, "PAUSE_SECONDS", 0.001)


@pytest.fixture
def http(server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server, timeout=30) as client:
        yield client


@contextmanager
def a_job_that_moves(store: Store) -> Iterator[str]:
    """A job whose events are written while they are being read; it is cancelled after the last."""
    job_id = stories.a_new_job(store)

    def live() -> None:
        stories.many_events(store, job_id, EVENTS)
        store.request_cancel(job_id)

    writer = threading.Thread(target=live)
    writer.start()
    try:
        yield job_id
    finally:
        writer.join(60)


def stored(store: Store, job_id: str) -> list[int]:
    found = [event.seq for event in store.events(job_id, limit=1000)]
    assert found == list(range(1, len(found) + 1))
    assert len(found) > EVENTS
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_cut_at_any_byte_and_taken_up_again_brings_every_event_once(http, store, seed):
    dice = random.Random(seed)
    pieces: list[dict[str, str]] = []
    cuts = 0
    with a_job_that_moves(store) as job_id:
        while not (pieces and pieces[-1]["event"] == "end"):
            last = next((piece["id"] for piece in reversed(pieces) if "id" in piece), None)
            body, whole = a_piece(http, job_id, last, dice.randint(1, LONGEST_PIECE))
            pieces += events_of(body.decode(errors="replace"))
            cuts += not whole
    seen = [int(piece["id"]) for piece in pieces if "id" in piece]
    assert seen == stored(store, job_id)
    assert cuts > 10


def a_piece(http: httpx2.Client, job_id: str, last: str | None, size: int) -> tuple[bytes, bool]:
    """Read a stream's body up to a byte and drop the connection; True if the server ended it first."""
    headers = {**SSE, **({} if last is None else {"Last-Event-ID": last})}
    body = b""
    with http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) >= size:
                return body[:size], False
    return body, True


def test_an_event_is_the_same_however_often_its_stream_is_cut(http, store):
    job_id = stories.a_finished_job(store)
    whole, _ = a_piece(http, job_id, None, 10**9)
    for last in range(store.job(job_id).event_count):
        rest, ended = a_piece(http, job_id, str(last), 10**9)
        assert ended
        assert whole.endswith(rest)
        assert events_of(rest.decode())[0]["id"] == str(last + 1)


def heard(url: str, job_id: str) -> list[int | None]:
    """The numbers of a job's events, as the client hears them."""
    with Client(url) as client:
        return [event.seq for event in client.jobs.get(job_id).stream()]


def heard_by_asyncio(url: str, job_id: str) -> list[int | None]:
    async def hear() -> list[int | None]:
        async with AsyncClient(url) as client:
            return [event.seq async for event in (await client.jobs.get(job_id)).stream()]

    return asyncio.run(hear())


@ON_SQLITE
@pytest.mark.parametrize("hear", [heard, heard_by_asyncio])
@pytest.mark.parametrize("seed", range(3))
def test_the_client_takes_up_a_stream_that_is_cut_again_and_again(server, store, seed, hear):
    """Here anything may be cut: the status line, a header, a chunk's length, half a letter."""
    with (
        a_job_that_moves(store) as job_id,
        _ProxyThatCuts(server, random.Random(seed)) as proxy,
    ):
        seen = hear(proxy.url, job_id)
    assert seen == stored(store, job_id)
    assert proxy.cuts > 10


class _Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class _QuietThenCut(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of a stream on which nothing happens for an hour, until the connection breaks."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        yield b": still here\n\n"
        self._clock.sleep(3600)
        raise httpx2.ReadError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def collected(answers: httpx2.MockTransport) -> list[str]:
    """The kinds of events that the client hears."""
    one = transport.Transport("http://x")
    one._http = httpx2.Client(base_url="http://x", transport=answers)
    return [event.kind for event in one.stream("/events", 0)]


def collected_by_asyncio(answers: httpx2.MockTransport) -> list[str]:
    async def collect() -> list[str]:
        one = aio_transport.AsyncTransport("http://x")
        one._http = httpx2.AsyncClient(base_url="http://x", transport=answers)
        return [event.kind async for event in one.stream("/events", 0)]

    return asyncio.run(collect())


@pytest.mark.parametrize("collect", [collected, collected_by_asyncio])
def test_a_restart_after_a_quiet_hour_is_waited_for_as_long_as_any(monkeypatch, collect):
    """A job that waits for somebody's word tells nothing for long: that is no lack of a server."""
    clock = _Clock()
    for one in (transport, aio_transport):
        monkeypatch.setattr(one, "time", clock)
    as_stream = {"Content-Type": "text/event-stream"}
    answers = [
        lambda: httpx2.Response(200, headers=as_stream, stream=_QuietThenCut(clock)),
        *[lambda: httpx2.Response(502)] * 2,
        *[None] * 2,  # connections are refused
        lambda: httpx2.Response(200, headers=as_stream, content=b"event: end\ndata: {}\n\n"),
    ]

    def answer(_: httpx2.Request) -> httpx2.Response:
        made = answers.pop(0)
        if made is None:
            raise httpx2.ConnectError("refused")
        return made()

    assert collect(httpx2.MockTransport(answer)) == ["end"]
    assert answers == []


@pytest.mark.parametrize("collect", [collected, collected_by_asyncio])
def test_a_server_that_stays_away_is_given_up_after_two_minutes(monkeypatch, collect):
    clock = _Clock()
    for one in (transport, aio_transport):
        monkeypatch.setattr(one, "time", clock)

    def refuse(_: httpx2.Request) -> httpx2.Response:
        clock.sleep(10)
        raise httpx2.ConnectError("refused")

    with pytest.raises(transport.Unreachable):
        collect(httpx2.MockTransport(refuse))
    assert 120 < clock.now < 140


class _ProxyThatCuts:
    """A TCP proxy that cuts every event stream after so many bytes as the dice say."""

    def __init__(self, target: str, dice: random.Random) -> None:
        where = urlsplit(target)
        self._target, self._dice = (where.hostname, where.port), dice
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cuts = 0

    def __enter__(self) -> _ProxyThatCuts:
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            with near, socket.create_connection(self._target) as far:
                self._pass(near, far)

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        """Pass one request on, and its answer back up to the cut; one request per connection."""
        request = near.recv(65_536)
        if not request:
            return
        far.sendall(request.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n", 1))
        streams = b"text/event-stream" in request
        left = self._dice.randint(1, LONGEST_PIECE) if streams else 10**9
        with suppress(ConnectionError):  # whoever has read the end hangs up
            while left > 0 and (data := far.recv(min(left, 4096))):
                near.sendall(data)
                left -= len(data)
        self.cuts += left == 0
