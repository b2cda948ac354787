"""The server's log: who asked for what, as JSON, and nothing of what was said."""

from __future__ import annotations

import io
import json
import logging

import pytest

from api import headers
from core.storage.engine import writing
from tests.shells.conftest import ON_SQLITE
from tests.shells.stories import a_finished_job
from workers.logs import configure_server_logs

pytestmark = ON_SQLITE


@pytest.fixture
def logged():
    """Log as the server does, and read back what it logged."""
    stream = io.StringIO()
    configure_server_logs("debug", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_told_with_who_asked_and_about_what(api, store, logged):
    job_id = a_finished_job(store)
    api.delete(f"/v1/jobs/{job_id}", headers={"X-Request-ID": "mine"})
    (line,) = [line for line in logged() if line["event"] == "request"]
    assert (line["method"], line["status"], line["level"]) == ("DELETE", 204, "info")
    assert (line["owner"], line["job_id"], line["request_id"]) == ("local", job_id, "mine")
    assert 0 <= line["seconds"] < 60
    assert line["route"] == "/v1/jobs/{job_id}"


def test_what_was_said_is_not_told(api, logged):
    body = {"task": "cartpole-park", "name": "canary-17"}
    api.post("/v1/jobs?secret=canary-17", json=body, headers={"Authorization": "Bearer canary-17"})
    api.get("/v1/nothing-canary-17")
    lines = logged()
    assert len(lines) == 2
    assert "canary-17" not in json.dumps(lines)


def test_a_database_that_breaks_over_what_was_said_does_not_repeat_it(api, store, engine, logged):
    job_id = a_finished_job(store)
    forbid = (
        "CREATE TRIGGER forbid BEFORE INSERT ON remarks BEGIN SELECT RAISE(ABORT, 'broken'); END"
    )
    writing(engine, lambda c: c.exec_driver_sql(forbid))
    try:
        said = {"kind": "text", "text": "canary-17"}
        assert api.post(f"/v1/jobs/{job_id}/feedback", json=said).status_code == 500
    finally:
        writing(engine, lambda c: c.exec_driver_sql("DROP TRIGGER forbid"))
    lines = logged()
    assert any("INSERT INTO remarks" in line.get("exception", "") for line in lines)
    assert "canary-17" not in json.dumps(lines)


def test_reading_is_a_detail(api, caplog):
    with caplog.at_level(logging.INFO, headers.log.name):
        api.get("/v1/tasks")
        assert caplog.records == []
        api.get("/v1/jobs/nobody")
        assert [record.status for record in caplog.records] == [404]


def test_a_fault_is_told_with_its_trace(api, monkeypatch, store, logged):
    def broken(self, job_id):
        raise KeyError("broken here")

    monkeypatch.setattr(type(store), "job_at_work", broken)
    api.get("/v1/jobs/job_x")
    lines = logged()
    assert any("broken here" in line.get("exception", "") for line in lines)
    assert {line.get("status") for line in lines if line["event"] == "request"} == {500}
