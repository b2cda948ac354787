"""Deleting over HTTP, by the client and by the command."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from client.api import ApiProblem, Client
from client.cli import app as command
from core.storage import FolderArtifacts
from tests.shells.conftest import ON_SQLITE
from tests.shells.stories import a_finished_job, a_job_in_training

pytestmark = ON_SQLITE


def test_an_ended_job_is_deleted_with_every_address_that_it_had(api, store):
    job_id = a_finished_job(store)
    body = job_id.removeprefix("job_")
    paths = [
        f"/v1/jobs/{job_id}",
        f"/v1/jobs/{job_id}/events",
        f"/v1/candidates/cand_{body}_0_0/code",
        f"/v1/runs/run_{body}_search_0-0_0_0",
    ]
    assert {api.get(path).status_code for path in paths} == {200}
    answer = api.delete(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert {api.get(path).status_code for path in paths} == {404}
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 404
    assert api.get("/v1/library").json()["data"] == []


def test_a_running_job_is_cancelled_first(api, store):
    job_id = a_job_in_training(store)
    answer = api.delete(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "Cancel it" in answer.json()["hint"]
    api.post(f"/v1/jobs/{job_id}/cancel")
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204


def test_an_export_goes_on_when_a_job_is_deleted_under_it(api, store, monkeypatch):
    first, second = a_finished_job(store), a_finished_job(store)
    whole = api.get("/v1/datasets/designer.jsonl").text
    history = type(store).history

    def deleting(self, job_id):
        if job_id == second:
            store.delete(second)
        return history(self, job_id)

    monkeypatch.setattr(type(store), "history", deleting)
    lines = api.get("/v1/datasets/designer.jsonl").text.splitlines()
    assert 0 < len(lines) < len(whole.splitlines())
    assert all(first in line for line in lines)


def test_the_client_and_the_command_delete(server, store, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_API_URL", server)
    one, other = a_finished_job(store), a_finished_job(store)
    with Client(server) as client:
        client.jobs.get(one).delete()
        with pytest.raises(ApiProblem):
            client.jobs.get(one)
    result = CliRunner().invoke(command, ["jobs", "rm", other])
    assert (result.exit_code, other in result.stdout) == (0, True)
    assert CliRunner().invoke(command, ["jobs", "rm", other]).exit_code == 2


def test_tidying_by_hand_tells_what_is_gone(settings, store, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_HOME", str(settings.home))
    monkeypatch.setenv("REWARDSMITH_DATABASE_URL", settings.database_url)
    FolderArtifacts(settings.artifacts_path).put(b"young")
    a_finished_job(store)
    result = CliRunner().invoke(command, ["tidy", "--days", "1e-9", "--orphans", "--json"])
    told = json.loads(result.stdout)
    assert (told["jobs"], told["orphans"]) == (1, 0)
    assert store.jobs().items == ()


def test_no_job_is_deleted_for_ending_in_a_time_to_come(settings, store, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_DATABASE_URL", settings.database_url)
    job_id = a_finished_job(store)
    assert CliRunner().invoke(command, ["tidy", "--days", "-5"]).exit_code == 2
    assert [job.id for job in store.jobs().items] == [job_id]
