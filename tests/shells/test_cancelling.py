"""Cancelling many jobs at once: over HTTP, by the client, by the command, and on the page."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from api.bodies import MOST_AT_ONCE
from client.api import Client
from client.cli import app as command
from client.console import FAILED, OK, USAGE
from core.storage import Caller
from tests.builders import a_spec
from tests.shells.conftest import LOCAL_URL
from tests.shells.reading_pages import read
from tests.shells.stories import a_finished_job, a_job_in_training, a_new_job


def a_labelled_job(store, **labels: str) -> str:
    job, _ = store.create_job(
        a_spec(), idempotency_key=None, body_sha256="0" * 64, name=None, labels=labels
    )
    return job.id


def cancelled(api, **body) -> dict[str, str | None]:
    answer = api.post("/v1/jobs/cancel", json=body)
    assert answer.status_code == 200, answer.text
    return {one["id"]: one["status"] or one["problem"]["code"] for one in answer.json()["data"]}


def test_each_job_is_answered_for_by_itself(api, store):
    waiting, ended = a_new_job(store), a_finished_job(store)
    nobodys = "job_" + "0" * 26
    told = cancelled(api, ids=[waiting, ended, nobodys, "x", waiting])
    assert told == {waiting: "cancelled", ended: "conflict", nobodys: "not-found", "x": "not-found"}
    assert store.job(ended).status == "succeeded"
    assert cancelled(api, ids=[waiting]) == {waiting: "cancelled"}, "asking twice is asking once"


def test_a_job_at_work_is_asked_to_end(api, store):
    job_id = a_job_in_training(store)
    with store.claim(job_id, "train/0/0/0", "worker", 30.0):
        assert cancelled(api, ids=[job_id]) == {job_id: "running"}
        assert store.job(job_id).cancel_requested
    assert store.job(job_id).status == "cancelled"


def test_jobs_are_found_by_all_of_their_labels(api, store):
    first = a_labelled_job(store, sweep="7", seed="1")
    second = a_labelled_job(store, sweep="7", seed="2", **{'a "name" ü': "x"})
    other = a_labelled_job(store, sweep="8")
    assert cancelled(api, labels={"sweep": "7", "seed": "2"}) == {second: "cancelled"}
    assert cancelled(api, labels={"sweep": "7"}) == {first: "cancelled"}
    assert cancelled(api, labels={'a "name" ü': "x"}) == {}
    assert store.job(other).status == "queued"


def test_jobs_are_found_by_state_and_task(api, store):
    waiting, working = a_new_job(store), a_job_in_training(store)
    assert cancelled(api, status="paused") == {}
    assert cancelled(api, status="queued", task="nobody's") == {}
    assert cancelled(api, status="queued", task=store.job(waiting).spec.task.name) == {
        waiting: "cancelled"
    }
    assert store.job(working).status == "running"


@pytest.mark.slow  # a hundred jobs
def test_what_is_too_much_for_one_request_is_left_for_the_next(api, store):
    made = [a_labelled_job(store, many="1") for _ in range(MOST_AT_ONCE + 1)]
    answer = api.post("/v1/jobs/cancel", json={"labels": {"many": "1"}}).json()
    assert [one["id"] for one in answer["data"]] == made[:-1], "the oldest first"
    assert answer["has_more"]
    answer = api.post("/v1/jobs/cancel", json={"labels": {"many": "1"}}).json()
    assert ([one["id"] for one in answer["data"]], answer["has_more"]) == (made[-1:], False)


@pytest.mark.parametrize(
    "body",
    [{}, {"ids": []}, {"ids": ["a"], "status": "queued"}, {"status": "failed"}, {"labels": {}}],
)
def test_what_names_no_jobs_is_refused(api, store, body):
    a_new_job(store)
    answer = api.post("/v1/jobs/cancel", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input")
    assert {job.status for job in store.jobs().items} == {"queued"}


def test_somebody_elses_jobs_are_neither_named_nor_found(api, store):
    theirs = a_new_job(store.of(Caller("mallory")))
    assert cancelled(api, ids=[theirs]) == {theirs: "not-found"}
    assert cancelled(api, status="queued") == {}
    assert store.job(theirs).status == "queued"


@pytest.mark.slow  # two hundred requests to cancel
def test_the_client_asks_until_all_are_cancelled(server, store):
    made = [a_labelled_job(store, many="1") for _ in range(MOST_AT_ONCE + 1)]
    with Client(server) as client:
        assert [one.id for one in client.jobs.cancel(labels={"many": "1"})] == made
        again = client.jobs.cancel(*made)
    assert {one.status for one in again} == {"cancelled"}
    assert len(again) == len(made)


@pytest.fixture
def cancel(server, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_API_URL", server)
    return lambda *arguments: CliRunner().invoke(command, ["cancel", *arguments])


def test_the_command_takes_ids_or_filters(cancel, store):
    first, second = a_labelled_job(store, sweep="7"), a_labelled_job(store, sweep="7")
    told = cancel(first)
    assert (told.exit_code, told.stdout) == (OK, f"{first}  cancelled\n")
    told = cancel("--label", "sweep=7", "--json")
    assert [one["id"] for one in json.loads(told.stdout)["data"]] == [second]
    assert cancel("--label", "sweep=7").stdout == "No open job fits.\n"


def test_the_command_fails_where_a_job_was_refused(cancel, store):
    waiting, ended = a_new_job(store), a_finished_job(store)
    told = cancel(waiting, ended)
    assert told.exit_code == FAILED
    assert f"{waiting}  cancelled\n{ended}  refused: cancel is possible while" in told.stdout


@pytest.mark.parametrize(
    "arguments", [(), ("job_1", "--status", "queued"), ("--label", "sweep"), ("--label", "=7")]
)
def test_a_command_that_names_no_jobs_is_refused(cancel, arguments):
    assert cancel(*arguments).exit_code == USAGE


def test_jobs_are_ticked_on_the_page_and_cancelled(api, store):
    first, second, ended = a_new_job(store), a_new_job(store), a_finished_job(store)
    shown = read(api.get("/jobs"))
    ticks = {tick["name"] for tick in shown.all("input", type="checkbox")}
    assert ticks == {first, second}, "what has ended cannot be chosen"
    ours = {"Sec-Fetch-Site": "same-origin", "Origin": LOCAL_URL}
    sent = {first: "on", ended: "on"}
    answer = api.post("/jobs/cancel", data=sent, headers=ours, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
    states = {job.id: job.status for job in store.jobs().items}
    assert states == {first: "cancelled", second: "queued", ended: "succeeded"}
    empty = api.post("/jobs/cancel", data={"x": "y"}, headers=ours, follow_redirects=False)
    assert empty.status_code == 303
