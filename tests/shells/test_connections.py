"""Connections that lead to no request, or whose client does not read: they are ended in time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from client import connections
from client.connections import MOST_HEAD, Connection
from client.server import Server, listen
from tests.stack import eventually

LARGE = 24 << 20  # bytes; more than the system takes from a server for a client that does not read
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"


@dataclass
class Listening:
    """A server in a thread."""

    port: int
    server: Server

    def connect(self, **options: int) -> socket.socket:
        connection = socket.socket()
        if "buffer" in options:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["buffer"])
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self.port))
        return connection

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)


@pytest.fixture
def listening() -> Iterator[Listening]:
    app = FastAPI()
    app.state.house = SimpleNamespace(stopping=False)

    @app.api_route("/", methods=["GET", "POST"])
    async def told(request: Request) -> int:
        return len(await request.body())

    @app.get("/whole")
    def whole() -> Response:
        return Response(b"x" * LARGE)

    @app.get("/parts")
    def parts() -> Response:
        async def each() -> AsyncIterator[bytes]:
            for _ in range(LARGE >> 16):
                yield b"x" * (1 << 16)

        return StreamingResponse(each())

    ready = threading.Event()
    server, bound = Server(app, ready.set), listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        assert ready.wait(10)
        yield Listening(bound.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()


def everything(connection: socket.socket) -> bytes:
    """Read until the server ends the connection, however it does."""
    found = bytearray()
    try:
        while piece := connection.recv(1 << 16):
            found += piece
    except ConnectionResetError:
        pass
    return bytes(found)


def problem_in(answer: bytes) -> dict:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"connection: close" in head
    return json.loads(body)


@pytest.mark.parametrize(
    "more",
    [b"x: " + b"y" * 4_096, b"a: b\r\n" * 1_000, b"/" * 4_096],
    ids=["one header", "many", "before the first"],
)
def test_headers_without_end_are_refused(listening, more):
    with listening.connect() as connection:
        connection.sendall(b"GET /" if more.startswith(b"/") else HEAD)
        sent = 0
        try:
            while sent < 8 << 20:
                sent += connection.send(more)
        except OSError:  # it is closed already, and the answer may be lost with it
            pass
        assert sent < 8 << 20, "the server read on and on"
    eventually(lambda: listening.connections == 0, 20, "the connection is closed")


def test_headers_that_are_too_large_are_refused_in_words(listening):
    with listening.connect() as connection:
        connection.sendall((HEAD + b"x: ").ljust(MOST_HEAD, b"y"))
        problem = problem_in(everything(connection))
    assert (problem["status"], problem["code"]) == (431, "headers-too-large")
    assert str(MOST_HEAD) in problem["detail"]


def test_headers_that_are_just_not_too_large_are_read(listening):
    with listening.connect() as connection:
        connection.sendall(
            (HEAD + b"Connection: close\r\nx: ").ljust(MOST_HEAD - 5, b"y") + b"\r\n\r\n"
        )
        assert b" 200 OK" in everything(connection)


@pytest.mark.parametrize("more", [b"a: b\r\n" * 1_000, b"x: " + b"y" * 4_096])
def test_headers_after_a_body_have_an_end_too(listening, more):
    with listening.connect() as connection:
        connection.sendall(CHUNKED + b"0\r\n")
        sent = 0
        try:
            while sent < 8 << 20:
                sent += connection.send(more)
        except OSError:
            pass
        assert sent < 8 << 20


def test_a_large_body_is_no_header(listening):
    with listening.connect() as connection:
        chunk = b"10000\r\n" + b"x" * (1 << 16) + b"\r\n"
        head = CHUNKED.replace(b"Host: x", b"Host: x\r\nConnection: close")
        connection.sendall(head + chunk * 4 + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
        assert everything(connection).endswith(str(2 + (4 << 16) + 20_000).encode())


@pytest.mark.parametrize("begun", [b"", b"G", HEAD], ids=["nothing", "a letter", "half"])
def test_a_request_that_does_not_come_is_not_waited_for(listening, monkeypatch, begun):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    with listening.connect() as connection:
        connection.sendall(begun)
        answer = everything(connection)
    if begun:
        problem = problem_in(answer)
        assert (problem["status"], problem["code"]) == (408, "too-slow")
    else:
        assert answer == b""


def test_the_next_request_on_a_connection_is_not_waited_for_either(listening, monkeypatch):
    with listening.connect() as connection:
        connection.sendall(HEAD + b"\r\n")
        first = connection.recv(1 << 16)
        assert b"200 OK" in first
        monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
        connection.sendall(b"G")
        assert problem_in(everything(connection))["status"] == 408


def test_a_request_that_was_made_in_time_may_take_its_time(listening, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    with listening.connect() as connection:
        connection.sendall(CHUNKED.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        began = time.monotonic()
        while time.monotonic() - began < 0.3:
            connection.sendall(b"1\r\nx\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert b"200 OK" in everything(connection)


@pytest.mark.parametrize("path", [b"whole", b"parts"])
def test_who_does_not_read_is_cut_off(listening, monkeypatch, path):
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.1)
    with listening.connect(buffer=4_096) as connection:
        connection.sendall(HEAD.replace(b"/ ", b"/" + path + b" ", 1) + b"\r\n")
        assert connection.recv(8) == b"HTTP/1.1"
        eventually(lambda: listening.connections == 0, 20, "the connection is ended")
        assert len(everything(connection)) < LARGE


@pytest.mark.slow
@pytest.mark.parametrize("path", [b"whole", b"parts"])
def test_who_reads_slowly_gets_everything(listening, monkeypatch, path):
    monkeypatch.setattr(connections, "STALLED_SECONDS", 1.0)
    with listening.connect(buffer=1 << 18) as connection:
        head = HEAD.replace(b"/ ", b"/" + path + b" ", 1) + b"Connection: close\r\n\r\n"
        connection.sendall(head)
        read, began = 0, time.monotonic()
        while piece := connection.recv(1 << 16):
            read += len(piece)
            while read / LARGE > (time.monotonic() - began) / 3.0:
                time.sleep(0.01)  # it is slow on purpose: three times as long as a pause may be
    assert read > LARGE


@pytest.mark.slow  # two seconds of reading
@pytest.mark.parametrize("path", [b"whole", b"parts"])
def test_who_reads_less_than_the_system_keeps_is_not_taken_for_one_who_reads_nothing(
    listening, monkeypatch, path
):
    """Between two pieces that the server may send, the system has megabytes for the client."""
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.3)
    with listening.connect(buffer=1 << 16) as connection:
        head = HEAD.replace(b"/ ", b"/" + path + b" ", 1) + b"Connection: close\r\n\r\n"
        connection.sendall(head)
        read, began = 0, time.monotonic()
        while time.monotonic() - began < 2.0:
            read += len(connection.recv(1 << 14))
            time.sleep(0.05)  # it is slow on purpose: a sixth of a pause
        assert listening.connections == 1
        read += len(everything(connection))
    assert read > LARGE


def test_the_api_alone_can_be_bounded_as_well():
    config = uvicorn.Config(
        "client.server:app_from_environment", http="client.connections:Connection", ws="none"
    )
    config.load_app = lambda: None
    config.load()
    assert config.http_protocol_class is Connection
