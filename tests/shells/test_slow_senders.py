"""Who sends slowly, holds much, or never reads: refused or cut off, and nobody else notices."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from api import arriving
from api.dependencies import House
from api.shares import Shares
from client.server import make_app
from core.settings import Settings
from core.storage.keyring import SCOPES
from tests.databases import emptied
from tests.shells.conftest import ON_SQLITE, serving
from tests.stack import eventually

JOB = b'{"task": "cartpole"}'


@dataclass
class Served:
    """A server that asks for keys and works on two requests at a time."""

    url: str
    app: FastAPI

    def key(self, owner: str) -> str:
        _, key = self.app.state.house.store.keys.create(owner, scopes=SCOPES)
        return key

    def get(self, path: str, owner: str = "alice") -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.key(owner)}"}
        return httpx2.get(self.url + path, headers=headers, timeout=20)

    def submit(self, owner: str) -> str:
        headers = {"Authorization": f"Bearer {self.key(owner)}"}
        return httpx2.post(f"{self.url}/v1/jobs", json=json.loads(JOB), headers=headers).json()[
            "id"
        ]

    @contextmanager
    def sending(self, *lines: str, body: bytes = b"") -> Iterator[socket.socket]:
        """Send a head and the beginning of a body, and no more."""
        host, port = self.url.removeprefix("http://").split(":")
        head = "\r\n".join((*lines, f"Host: {host}:{port}", "", "")).encode()
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head + body)
            yield connection


@pytest.fixture
def served(tmp_path: Path, shared_sqlite: str) -> Iterator[Served]:
    url = emptied(shared_sqlite)
    app = make_app(Settings(home=tmp_path / "home", database_url=url, requests_at_once=2))
    with serving(app) as address:
        yield Served(address, app)


def answered(connection: socket.socket) -> tuple[int, dict]:
    """Read an answer to its end."""
    with connection.makefile("rb") as told:
        status = int(told.readline().split()[1])
        length = 0
        while line := told.readline().strip():
            name, _, value = line.partition(b": ")
            length = int(value) if name.lower() == b"content-length" else length
        return status, json.loads(told.read(length))


POST = ("POST /v1/jobs HTTP/1.1", "Content-Type: application/json")
IMPORT = ("POST /v1/jobs/import HTTP/1.1", "Content-Type: application/jsonl")
COOKIE = "Cookie: rewardsmith_key="
FORM = ("POST /signin HTTP/1.1", "Content-Type: application/x-www-form-urlencoded")
STRANGER = "Authorization: Bearer nonsense"


@pytest.mark.parametrize("verb", [POST, FORM], ids=["a job", "a form"])
@pytest.mark.parametrize("knows_a_key", [True, False])
def test_who_announces_a_body_and_sends_none_keeps_nobody_out(served, verb, knows_a_key):
    app = served.app
    key = f"Authorization: Bearer {served.key('alice')}" if knows_a_key else STRANGER
    with ExitStack() as idle:
        for _ in range(2 * (2 + 2 * 5)):  # twice as many as have a place, in the room or in line
            idle.enter_context(served.sending(*verb, key, "Content-Length: 100"))
        for _ in range(12):
            half = served.sending(*verb, key, "Transfer-Encoding: chunked", body=b"5\r\n")
            idle.enter_context(half)
        assert served.get("/v1/jobs").status_code == 200
        assert app.state.room.at_work == 0
    eventually(lambda: not app.state.room.bodies.total, 20, "nothing of them is kept")


def test_an_import_that_does_not_come_keeps_nobody_out_either(served):
    key = f"Authorization: Bearer {served.key('alice')}"
    with ExitStack() as idle:
        for _ in range(5):
            idle.enter_context(served.sending(*IMPORT, key, "Content-Length: 100"))
        streams = served.app.state.house.streams
        eventually(lambda: streams["alice"] == 5, 20, "the imports have begun")
        assert served.get("/v1/jobs").status_code == 200
    eventually(lambda: not streams, 20, "they are forgotten")


@pytest.mark.parametrize("verb", [POST, IMPORT], ids=["a job", "an import"])
def test_a_body_that_does_not_come_in_time_is_refused_in_words(served, monkeypatch, verb):
    monkeypatch.setattr(arriving, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(arriving, "IMPORT_SECONDS", 0.1)
    key = f"Authorization: Bearer {served.key('alice')}"
    with served.sending(*verb, key, "Content-Length: 100", body=JOB) as connection:
        status, problem = answered(connection)
        assert (status, problem["code"]) == (408, "too-slow")
        assert "0.1 s" in problem["detail"]
        assert connection.recv(1) == b"", "nothing more is waited for"


def test_a_body_too_large_is_refused_before_it_is_sent(served):
    length = f"Content-Length: {(1 << 20) + 1}"
    with served.sending(*POST, STRANGER, length) as connection:
        status, problem = answered(connection)
    assert (status, problem["code"]) == (413, "body-too-large")


def test_so_much_of_bodies_is_held_for_one_address_and_for_all(served):
    served.app.state.room.bodies = bodies = Shares(most=4_000, share=3_000)
    bodies.take("198.51.100.7", 2_000)
    chunked = (*POST, STRANGER, "Transfer-Encoding: chunked")
    with served.sending(*chunked, body=b"400\r\n" + b" " * 1_024 + b"\r\n"):
        eventually(lambda: bodies.total == 3_024, 20, "half a body is held")
        with served.sending(*chunked, body=b"400\r\n" + b" " * 1_024 + b"\r\n") as second:
            status, problem = answered(second)
            assert (status, problem["code"]) == (503, "overloaded")
            assert "4000 bytes" in problem["detail"]
        bodies.give_back("198.51.100.7", 2_000)
        large = b"800\r\n" + b" " * 2_048 + b"\r\n"
        with served.sending(*chunked, body=large) as third:
            status, problem = answered(third)
            assert status == 503
            assert "3000 bytes" in problem["detail"]
    eventually(lambda: not bodies.total, 20, "nothing is held any more")
    assert served.submit("alice")


def test_one_owner_s_answers_leave_room_for_all_others(served):
    job_id = served.submit("alice")
    room = served.app.state.room
    eventually(lambda: not room.answers.total, 20, "that has ended")
    room.answers = Shares(most=9, share=3)
    key = f"Authorization: Bearer {served.key('alice')}"
    stream = (f"GET /v1/jobs/{job_id}/events HTTP/1.1", "Accept: text/event-stream", key)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(served.sending(*stream))
        eventually(lambda: served.app.state.house.streams["alice"] == 3, 20, "three streams")
        refused = served.get("/v1/jobs", "alice")
        assert (refused.status_code, refused.json()["code"]) == (429, "too-many-requests")
        assert "3 answers" in refused.json()["detail"]
        assert served.get("/v1/jobs", "bob").status_code == 200
        eventually(lambda: room.answers.taken == {"owner alice": 3}, 20, "the others have ended")
    eventually(lambda: not room.answers.total, 20, "they have ended")
    assert served.get("/v1/jobs", "alice").status_code == 200


def test_who_shows_no_key_has_a_share_as_well(served):
    served.app.state.room.answers = answers = Shares(most=9, share=3)
    answers.take("address 127.0.0.1", 3)
    refused = httpx2.get(f"{served.url}/openapi.json")
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert httpx2.get(f"{served.url}/healthz").status_code == 200
    answers.give_back("address 127.0.0.1", 1)
    assert httpx2.get(f"{served.url}/openapi.json").status_code == 200


@pytest.mark.parametrize(
    ("verb", "header"),
    [
        ("GET /v1/jobs/{}/events", "Accept: text/event-stream"),
        ("GET /jobs/{}/feed", "Accept: text/event-stream"),
        ("GET /v1/jobs/{}", "Prefer: wait=30"),
        ("POST /v1/jobs", "Prefer: wait=30"),
    ],
    ids=["streams", "feeds of pages", "held answers", "held new jobs"],
)
def test_streams_that_are_opened_at_once_are_as_many_as_allowed(served, verb, header):
    job_id, app = served.submit("alice"), served.app
    house = app.state.house
    settings = house.settings.model_copy(update={"streams_per_owner": 3})
    app.state.house = House(settings, house.store, house.notify, house.prices)
    app.state.room.at_once = 40
    key = served.key("alice")
    head = (f"{verb.format(job_id)} HTTP/1.1", header, f"Authorization: Bearer {key}", COOKIE + key)
    job = (POST[1], f"Content-Length: {len(JOB)}") if verb.startswith("POST") else ()
    body = JOB if job else b""
    with ExitStack() as opened:
        connections = [
            opened.enter_context(served.sending(*head, *job, body=body)) for _ in range(20)
        ]
        told = [0] * len(connections)

        def refused() -> int:
            for n, connection in enumerate(connections):
                told[n] = told[n] or status_so_far(connection)
            return told.count(429)

        eventually(lambda: refused() == 17, 20, "all others are refused")
        assert app.state.house.streams == {"alice": 3}
    app.state.house.stopping = True  # what is held looks at its job alone
    eventually(lambda: not app.state.house.streams, 20, "none is open")


@ON_SQLITE
def test_a_stream_that_was_granted_and_never_began_is_not_counted_any_more(api, app):
    answer = api.post("/v1/jobs", json={"task": "nobody's"}, headers={"Prefer": "wait=1"})
    assert answer.status_code == 422
    assert not app.state.house.streams


def status_so_far(connection: socket.socket) -> int:
    """Return the status of an answer that has begun; 0 if none has."""
    connection.setblocking(False)
    try:
        return int(connection.recv(15).split()[1])
    except BlockingIOError:
        return 0
