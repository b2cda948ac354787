"""The API as a stranger meets it: answers to hostile texts."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fastapi.testclient import TestClient
from httpx2 import Response

from api.main import create_app
from core.settings import Settings
from migrations import upgrade


@functools.cache
def client() -> TestClient:
    """Return a client of a server with an embedded database of its own."""
    folder = tempfile.TemporaryDirectory(prefix="attacked-")
    settings = Settings(home=Path(folder.name))
    upgrade(settings.database_url)
    app = create_app(settings, lambda *_: None, keyless=True)
    app.state.kept = folder  # as long as the application
    made = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    made.__enter__()
    return made


def answers_with(text: str) -> Iterator[Response]:
    """Yield the answers of every place where a text can be handed in, and of those that show it."""
    job = {"task": {"environment": "CartPole-v1", "description": text}, "name": "attacked"}
    made = client().post("/v1/jobs", json=job | {"labels": {"a": text[:60]}})
    assert made.status_code in (202, 422), made.text  # it came through the door
    yield made
    yield client().get("/v1/jobs")
    yield client().get(f"/v1/jobs/{made.json().get('id')}")
    yield client().post("/v1/jobs", json={"task": text})
    yield client().get("/v1/jobs/" + "<script>alert(1)</script>")
    yield client().get("/<script>alert(1)</script>")


def recording_status(name: str) -> int:
    """Ask for a job that replays a recording of this name; return the status of the answer."""
    job = {"task": "cartpole-park", "designer": {"name": "replay", "recording": name}}
    return client().post("/v1/jobs", json=job).status_code
