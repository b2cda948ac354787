"""`rewardsmith ui`: any database can be looked at, and nothing in it can be changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api.main import create_app
from client.cli import app as command
from client.commands.ui import settings_for
from client.console import USAGE
from core.storage import Caller, open_store
from tests.builders import a_spec
from tests.databases import emptied
from tests.rim.storing import a_job
from tests.shells import stories
from tests.shells.conftest import LOCAL_URL
from tests.stack import stack


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture
def shown(settings, store):
    app = create_app(settings, lambda *_: None, store, keyless=True, shows=True)
    with TestClient(app, base_url=LOCAL_URL) as client:
        yield client


def changes(app) -> list[tuple[str, str]]:
    """Verb and path of every operation that is not merely read."""
    paths = app.openapi()["paths"]
    return [
        (verb.upper(), path)
        for path, methods in paths.items()
        for verb in methods
        if verb.upper() not in ("GET", "HEAD")
    ]


def test_jobs_of_all_owners_are_shown(shown, store):
    jobs = {a_job(store.of(Caller(owner)), a_spec()).id for owner in ("alice", "mallory")}
    assert {job["id"] for job in shown.get("/v1/jobs").json()["data"]} == jobs
    done = stories.a_finished_job(store)
    assert shown.get(f"/v1/jobs/{done}/candidates").status_code == 200


def test_nothing_can_be_changed(shown, store):
    job_id = stories.a_finished_job(store)
    before = (store.job(job_id), store.events(job_id), len(store.jobs().items))
    asked = changes(shown.app)
    assert ("POST", "/v1/jobs") in asked
    for verb, path in asked:
        place = path.replace("{job_id}", job_id)
        body = {"task": "cartpole-park"}
        answer = shown.request(verb, place, json=body, headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code in (403, 405), (verb, path)
    assert (store.job(job_id), store.events(job_id), len(store.jobs().items)) == before


def test_a_refusal_says_what_would_let_one_change_something(shown):
    answer = shown.post("/v1/jobs", json={"task": "cartpole-park"})
    assert (answer.status_code, answer.json()["code"]) == (403, "only-shows")
    assert "rewardsmith serve" in answer.json()["hint"]


@pytest.mark.parametrize("given", ["nowhere.db", "sqlite:///nowhere.db"])
def test_a_file_that_is_not_there_is_not_made(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, ["ui", given])
    assert result.exit_code == USAGE
    assert "that is there" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_another_kind_is_refused(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, ["ui", "mysql://host/database"])
    assert result.exit_code == USAGE


def test_the_files_of_a_backup_are_found_beside_it(monkeypatch, tmp_path):
    for name in ("ARTIFACTS_PATH", "HOME"):
        monkeypatch.delenv(f"REWARDSMITH_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    backup, beside = tmp_path / "backup" / "jobs.db", tmp_path / "backup" / "artifacts"
    backup.parent.mkdir()
    backup.touch()
    at_home = tmp_path / ".rewardsmith" / "artifacts"
    assert settings_for("backup/jobs.db").artifacts_path == at_home
    beside.mkdir()
    for given in ("backup/jobs.db", f"sqlite:///{backup}"):
        assert settings_for(given).artifacts_path == beside
    assert settings_for("postgresql://host/jobs").artifacts_path == at_home
    monkeypatch.setenv("REWARDSMITH_ARTIFACTS_PATH", str(tmp_path / "elsewhere"))
    assert settings_for("backup/jobs.db").artifacts_path == tmp_path / "elsewhere"


@pytest.mark.slow  # starts the command as a process
def test_the_command_shows_a_file_that_somebody_mailed(migrated_sqlite, tmp_path):
    file = Path(shutil.copy(migrated_sqlite, tmp_path / "mailed.db"))
    store = open_store(f"sqlite:///{file}")
    job_id = stories.a_finished_job(store)
    store.close()
    with stack(tmp_path / "home") as made:
        made.show(str(file))
        assert made.job(job_id)["status"] == "succeeded"
        answer = httpx2.post(f"{made.url}/v1/jobs/{job_id}/fork", json={})
        assert answer.status_code == 403
