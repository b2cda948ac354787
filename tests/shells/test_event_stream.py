"""Events as a list and as a stream: every event once, in order, whatever breaks."""

from __future__ import annotations

import json

import httpx2
import pytest

from client.api import Client
from tests.shells import stories
from tests.shells.conftest import ON_SQLITE

SSE = {"Accept": "text/event-stream"}


def events_of(text: str) -> list[dict[str, str]]:
    """Read a stream's text as browsers do; what has no empty line after it is not an event."""
    blocks = text.split("\n\n")[:-1]
    lines = [[line.partition(": ") for line in block.split("\n")] for block in blocks]
    return [{name: value for name, _, value in block if name} for block in lines]


def numbered(text: str) -> list[dict[str, str]]:
    return [event for event in events_of(text) if "id" in event]


def test_a_list_goes_on_after_the_number_of_the_last_one_seen(api, store):
    job_id = stories.a_finished_job(store)
    everything = api.get(f"/v1/jobs/{job_id}/events").json()
    first = api.get(f"/v1/jobs/{job_id}/events", params={"limit": 2}).json()
    rest = api.get(f"/v1/jobs/{job_id}/events", params={"after": first["next"]}).json()
    assert first["data"] + rest["data"] == everything["data"]
    assert [event["id"] for event in everything["data"]] == list(range(1, everything["next"] + 1))
    assert everything["data"][0]["type"] == "job.created"


@pytest.mark.parametrize("params", [{"after": -1}, {"after": 2**70}, {"limit": 0}, {"after": "x"}])
def test_a_list_from_nowhere_is_refused(api, store, params):
    job_id = stories.a_new_job(store)
    assert api.get(f"/v1/jobs/{job_id}/events", params=params).status_code == 422


def test_the_stream_of_a_finished_job_has_all_its_events_and_ends(server, store):
    job_id = stories.a_finished_job(store)
    answer = httpx2.get(f"{server}/v1/jobs/{job_id}/events", headers=SSE)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    events = numbered(answer.text)
    stored = [(str(e.seq), e.kind, e.message) for e in store.events(job_id)]
    assert [(e["id"], e["event"], json.loads(e["data"])["message"]) for e in events] == stored
    last = events_of(answer.text)[-1]
    assert (last["event"], json.loads(last["data"])) == ("end", {"status": "succeeded"})


@ON_SQLITE
@pytest.mark.parametrize(
    ("last_event_id", "first"),
    [("3", 4), ("", 1)],
)
def test_a_stream_goes_on_after_the_last_event_id(server, store, last_event_id, first):
    job_id = stories.a_finished_job(store)
    headers = {**SSE, "Last-Event-ID": last_event_id.encode()}
    answer = httpx2.get(f"{server}/v1/jobs/{job_id}/events", headers=headers)
    assert int(numbered(answer.text)[0]["id"]) == first


@ON_SQLITE
@pytest.mark.parametrize("last_event_id", ["nonsense", "-3", "9" * 40, "²"])
def test_a_last_event_id_that_we_cannot_have_sent_is_refused(server, store, last_event_id):
    job_id = stories.a_finished_job(store)
    headers = {**SSE, "Last-Event-ID": last_event_id.encode()}
    answer = httpx2.get(f"{server}/v1/jobs/{job_id}/events", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "header/last-event-id"


@ON_SQLITE
def test_a_stream_says_when_a_queued_job_has_waited_long_for_a_worker(server, store, monkeypatch):
    monkeypatch.setattr("api.events.PATIENCE_SECONDS", 0.1)
    job_id = stories.a_new_job(store)
    waiting = []
    with Client(server) as client:
        for event in client.jobs.get(job_id).stream(transient=True):
            if event.kind == "progress":
                waiting.append(event.data["waiting"])
            if waiting and waiting[-1]:
                store.request_cancel(job_id)
    assert waiting[:2] == [False, True]


def test_a_stream_after_the_last_event_of_a_finished_job_ends_at_once(server, store):
    job_id = stories.a_finished_job(store)
    headers = {**SSE, "Last-Event-ID": str(store.job(job_id).event_count)}
    answer = httpx2.get(f"{server}/v1/jobs/{job_id}/events", headers=headers)
    assert [event["event"] for event in events_of(answer.text)] == ["progress", "end"]


def test_the_stream_of_an_unknown_job_is_a_problem_and_no_stream(server):
    answer = httpx2.get(f"{server}/v1/jobs/job_{'0' * 26}/events", headers=SSE)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_stream_brings_what_happens_while_it_is_open(server, store):
    job_id = stories.a_job_in_training(store)
    claim = stories.while_training(store, job_id)
    job = Client(server).jobs.get(job_id)
    kinds = []
    for event in job.stream(transient=True):
        kinds.append(event.kind)
        if event.kind == "progress" and event.data["activity"]:
            assert event.data["activity"][0]["done"] == 600
            store.request_cancel(job_id)
            claim.release()
    assert kinds[-2:] == ["job.completed", "end"] or kinds[-3:-1] == ["job.completed", "progress"]


@ON_SQLITE
def test_a_server_that_stops_ends_its_streams(app, store):
    from tests.shells.conftest import serving

    job_id = stories.a_new_job(store)
    with (
        serving(app) as url,
        httpx2.stream("GET", f"{url}/v1/jobs/{job_id}/events", headers=SSE) as answer,
    ):
        chunks = answer.iter_text()
        next(chunks)
        app.state.house.stopping = True
        list(chunks)
