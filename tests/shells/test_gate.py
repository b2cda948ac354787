"""A server that has more to do than it can: who is served, who waits, who is told to come back.

What takes long here is a database that somebody else is writing to.
"""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from api import gate
from api.gate import WAITING, Room
from client.api import Client
from client.server import make_app
from core.settings import Settings
from tests.databases import emptied
from tests.shells.conftest import serving
from tests.stack import eventually

pytestmark = pytest.mark.slow  # waits for a line to move

JOB = b'{"task": "cartpole"}'


class Crowded:
    """A server that works on one request at a time, and the file of its database."""

    def __init__(self, url: str, room: Room, file: Path) -> None:
        self.url, self.room, self.file = url, room, file

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Keep everybody from writing."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")

    def submit(self) -> int:
        headers = {"Content-Type": "application/json"}
        answer = httpx2.post(f"{self.url}/v1/jobs", content=JOB, headers=headers, timeout=20)
        return answer.status_code

    def jobs(self) -> int:
        return len(httpx2.get(f"{self.url}/v1/jobs").json()["data"])

    def wait_for(self, at_work: int, waiting: int) -> None:
        def seen() -> bool:
            return (self.room.at_work, self.room.waiting) == (at_work, waiting)

        eventually(seen, 10, f"{at_work} at work, {waiting} waiting")


@pytest.fixture
def crowded(tmp_path: Path, shared_sqlite: str) -> Iterator[Crowded]:
    url = emptied(shared_sqlite)
    settings = Settings(home=tmp_path / "home", database_url=url, requests_at_once=1)
    app = make_app(settings, keyless=True)
    with serving(app) as address:
        yield Crowded(address, app.state.room, Path(url.removeprefix("sqlite:///")))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * WAITING) as pool:
        yield pool


def test_some_wait_for_their_turn_and_all_others_are_told_to_come_back(crowded, pool):
    with crowded.stuck():
        served = [pool.submit(crowded.submit)]
        crowded.wait_for(1, 0)
        served += [pool.submit(crowded.submit) for _ in range(WAITING)]
        crowded.wait_for(1, WAITING)

        refused = httpx2.get(f"{crowded.url}/v1/jobs")
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-request-id"] == refused.json()["request_id"]
        assert refused.json()["code"] == "overloaded"

        for path in ("/healthz", "/readyz", "/metrics"):
            assert httpx2.get(crowded.url + path).status_code == 200, path
        told = httpx2.get(f"{crowded.url}/metrics").text
        assert "rewardsmith_requests_at_work 1.0" in told
        assert f"rewardsmith_requests_waiting {float(WAITING)}" in told
    assert [job.result() for job in served] == [202] * (WAITING + 1)
    assert crowded.jobs() == WAITING + 1
    crowded.wait_for(0, 0)


def test_who_has_left_meanwhile_is_not_worked_for(crowded, pool):
    with crowded.stuck():
        first = pool.submit(crowded.submit)
        crowded.wait_for(1, 0)
        with knocking(crowded.url):
            crowded.wait_for(1, 1)
        last = pool.submit(crowded.submit)
        crowded.wait_for(1, 2)
    assert (first.result(), last.result()) == (202, 202)
    crowded.wait_for(0, 0)
    assert crowded.jobs() == 2


@contextmanager
def knocking(url: str) -> Iterator[None]:
    """Submit a job, and leave without waiting for the answer."""
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: {len(JOB)}\r\n\r\n".encode() + JOB)
        yield


def test_who_has_waited_too_long_is_told_so(crowded, pool, monkeypatch):
    monkeypatch.setattr(gate, "WAIT_SECONDS", 0.05)
    with crowded.stuck():
        first = pool.submit(crowded.submit)
        crowded.wait_for(1, 0)
        refused = httpx2.get(f"{crowded.url}/v1/jobs")
        assert refused.status_code == 503
        assert "0.05 s" in refused.json()["detail"]
        crowded.wait_for(1, 0)
    assert first.result() == 202


def test_what_is_held_back_or_streamed_takes_no_room(crowded):
    with Client(crowded.url) as client, ExitStack() as open_streams:
        job = client.jobs.create("cartpole")
        for _ in range(3):
            stream = httpx2.stream(
                "GET",
                f"{crowded.url}/v1/jobs/{job.id}/events",
                headers={"Accept": "text/event-stream"},
            )
            open_streams.enter_context(stream)
        with ThreadPoolExecutor() as pool:
            held = pool.submit(
                httpx2.get,
                f"{crowded.url}/v1/jobs/{job.id}",
                headers={"Prefer": "wait=30"},
                timeout=40,
            )
            crowded.wait_for(0, 0)
            job.cancel()
            assert held.result().json()["status"] == "cancelled"


def test_the_client_comes_back_until_it_is_served(crowded, pool):
    with Client(crowded.url) as client:
        job = client.jobs.create("cartpole")
        with crowded.stuck():
            served = [pool.submit(crowded.submit) for _ in range(WAITING + 1)]
            crowded.wait_for(1, WAITING)
            patient = pool.submit(client.jobs.get, job.id)
            assert httpx2.get(f"{crowded.url}/v1/jobs").status_code == 503
        assert patient.result().id == job.id
    assert [one.result() for one in served] == [202] * (WAITING + 1)
