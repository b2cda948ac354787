"""The Python client against a real server."""

from __future__ import annotations

import socket
from contextlib import closing

import httpx2
import pytest

from client import transport
from client.api import ApiProblem, Client, Unreachable
from client.demo import DEMO, TASK
from tests.builders import SOURCE
from tests.databases import emptied
from tests.shells import stories


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture
def client(server):
    with Client(server) as client:
        yield client


@pytest.fixture
def nobody(monkeypatch) -> str:
    """An address at which nobody listens."""
    monkeypatch.setattr(transport, "PAUSE_SECONDS", 0.001)
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_a_job_is_created_and_read_and_steered(client):
    job = client.jobs.create("cartpole-park", "Park it.", iterations=1, labels={"a": "b"})
    assert job.document["spec"]["task"]["description"] == "Park it."
    assert client.jobs.get(job.id).document == job.document
    assert [j.id for j in client.jobs.list(task="cartpole-park")] == [job.id]
    assert job.pause().status == "paused"
    assert job.resume().status == "queued"
    assert job.cancel().finished


def test_every_creation_carries_a_key_so_that_repeating_it_is_safe(client):
    first = client.jobs.create("cartpole-park", idempotency_key="mine")
    assert client.jobs.create("cartpole-park", idempotency_key="mine").id == first.id
    assert client.jobs.create("cartpole-park").id != first.id


def test_the_list_reads_as_many_pages_as_there_are(client, store, monkeypatch):
    monkeypatch.setattr("client.api.PAGE", 2)
    ids = [stories.a_new_job(store) for _ in range(5)]
    assert [job.id for job in client.jobs.list()] == ids[::-1]


def test_a_refusal_carries_the_whole_problem(client):
    with pytest.raises(ApiProblem, match="Did you mean") as caught:
        client.jobs.create("cartpole-prak")
    assert (caught.value.status, caught.value.code) == (422, "unknown-task")
    assert caught.value.problem["request_id"]


def test_waiting_returns_the_finished_job_and_gives_up_in_time(client, store):
    assert client.jobs.get(stories.a_finished_job(store)).wait().status == "succeeded"
    with pytest.raises(TimeoutError, match="still queued"):
        client.jobs.get(stories.a_new_job(store)).wait(timeout=0.0)


def test_the_best_reward_is_saved_as_it_was_sent(client, store, tmp_path):
    job = client.jobs.get(stories.a_finished_job(store))
    path = job.best.save(tmp_path / "reward.py")
    assert path.read_text() == job.best.source()
    assert job.best.document()["key"] == "0.0"


def test_history_and_catalogue_are_within_reach(client, store):
    job = client.jobs.get(stories.a_finished_job(store))
    (iteration,) = job.iterations()
    first, second = job.candidates()
    assert iteration["candidates"] == [first, second]
    assert "def reward" in client.code(first["id"])
    assert client.run(client.runs(first["id"])[0]["id"])["seed"] >= 0
    assert client.candidate(first["id"]) == first
    assert len(job.exchanges()) == 1
    assert client.task("cartpole-park")["name"] == "cartpole-park"
    assert {task["name"] for task in client.tasks()} >= {"cartpole-park", "pendulum"}
    assert {method["name"] for method in client.methods()["data"]} >= {"smith", "eureka"}
    assert client.ready()


def test_a_server_that_is_not_there_is_unreachable(nobody):
    with Client(nobody) as client:
        assert not client.ready()
        with pytest.raises(Unreachable, match="rewardsmith serve"):
            client.jobs.get("job_x")


def test_a_server_that_is_another_program_is_told_apart():
    page = httpx2.Response(404, text="<html>", request=httpx2.Request("GET", "http://x/v1/jobs"))
    with pytest.raises(ApiProblem, match="REWARDSMITH_API_URL"):
        transport._accepted(page)


def test_the_demos_request_is_accepted(client):
    job = client.jobs.create(TASK, **DEMO)
    assert job.document["estimate"]["env_steps"] <= DEMO["budget"]["env_steps"]
    assert job.document["spec"]["evaluation"]["confirm_seeds"] == 5


# --- taking part ------------------------------------------------------------------------------

MINE = SOURCE.replace("Stay near", "My own: stay near")


def test_people_say_what_they_think_and_hand_in_what_they_wrote(client, store):
    job = client.jobs.get(stories.a_job_in_training(store))
    job.say("slower, please")
    job.thumb("0.0", up=False, text="it falls")
    kinds = [(remark["kind"], remark["value"]) for remark in job.feedback()]
    assert kinds == [("text", 0), ("thumb", -1)]
    with pytest.raises(ApiProblem, match="There is no candidate 9"):
        job.prefer("0.0", "9.9")
    assert job.give(MINE, parent="0.0", note="wider")["origin"] == "edit"
    assert [program["note"] for program in job.programs()] == ["wider"]


def test_jobs_go_on_after_their_end(client, store):
    done = client.jobs.get(stories.a_finished_job(store))
    fork = done.fork("0.0", iterations=1, name="again")
    assert (fork.document["name"], fork.document["spec"]["iterations"]) == ("again", 1)
    assert done.fork().id not in (fork.id, done.id)
    assert done.extend(iterations=1).status == "queued"
    assert client.jobs.get(stories.a_failed_job(store)).retry().status == "queued"


def test_finished_designs_and_what_they_teach_are_within_reach(client, store):
    done = stories.a_finished_job(store)
    (item,) = client.library("park the point")
    job = client.jobs.create(item["task"], start=[{"library": item["job"]}])
    assert [program["origin"] for program in job.programs()] == ["library"]
    assert [row["job"] for row in client.dataset()] == [done]
    assert list(client.dataset("dpo")) == []
    with pytest.raises(ApiProblem, match="format"):
        list(client.dataset("ppo"))
