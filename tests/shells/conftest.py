"""A server with a database of each kind, and jobs in it whose every fact went through the ledger."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.dependencies import House
from api.main import create_app
from client.server import Server, listen
from core.prices import read_prices
from core.settings import Settings
from core.storage import Store


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Let no test log into the stream of an earlier one, which is closed by now."""
    root, named = logging.getLogger(), [logging.getLogger(n) for n in ("api", "rewardsmith")]
    handlers, levels = list(root.handlers), [one.level for one in (root, *named)]
    yield
    root.handlers[:] = handlers
    for one, level in zip((root, *named), levels, strict=True):
        one.setLevel(level)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url)


@pytest.fixture
def woken() -> list[str]:
    """The ids of the jobs for which workers were woken."""
    return []


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """One application for all tests; each of them moves another house in."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    return create_app(settings, lambda *_: None, keyless=True)


@pytest.fixture
def app(built: FastAPI, settings: Settings, store: Store, woken: list[str]) -> FastAPI:
    def wake(seen: Store, job_id: str) -> None:
        seen.job(job_id)  # the workers' dispatcher reads the job through the same eyes
        woken.append(job_id)

    built.state.house = House(settings, store, wake, read_prices(), keyless=True)
    return built


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url=LOCAL_URL, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def listening(built: FastAPI) -> Iterator[str]:
    with serving(built) as url:
        yield url


@pytest.fixture
def server(app: FastAPI, listening: str) -> str:
    """The address of the same app behind real HTTP."""
    return listening


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app from a thread, on a free port of the loopback."""
    listening = threading.Event()
    server = Server(app, listening.set)
    bound = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        assert listening.wait(10)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        app.state.house.stopping = True
        server.should_exit = True
        thread.join(10)
        bound.close()


LOCAL_URL = "http://127.0.0.1:8700"

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what has nothing to do with the kind of database."""
