"""People take part in real jobs: server, embedded workers, sandbox, trainer and database."""

from __future__ import annotations

import json
import time

import httpx2
import pytest
import safetensors.numpy

from core.records.spec import DesignerChoice, Evaluation, JobSpec, Training
from core.storage import FolderArtifacts, Store, open_store
from core.tasks import find_task
from tests.stack import QUICK_TASK, Stack, eventually, stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE_SECONDS = 5.0
MINE = """import numpy as np

PARAMS = {"upright": 1.0}


def reward(obs, action, next_obs, params):
    return {"upright": params.upright * np.exp(-np.square(next_obs.pole_angle / 0.1))}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with stack(tmp_path_factory.mktemp("people")) as made:
        made.serve("--workers", "1")
        yield made


@pytest.fixture
def store(server):
    opened = open_store(f"sqlite:///{server.home}/rewardsmith.db")
    yield opened
    opened.close()


def a_waiting_job(store: Store) -> str:
    """A job that was put to rest before any worker could take it up."""
    spec = JobSpec(
        find_task("cartpole"),
        designer=DesignerChoice("evolution"),
        iterations=1,
        candidates=2,
        training=Training(steps=6_000, seeds=1, packs=1, checkpoints=2),
        evaluation=Evaluation(episodes=2, confirm_seeds=2, confirm_episodes=2),
    )
    job, _ = store.create_job(
        spec, idempotency_key=None, body_sha256="0" * 64, name=None, labels={}
    )
    store.request_pause(job.id)
    return job.id


def make_it_wait(store: Store, job_id: str) -> None:
    """Let a step of the paused job ask for feedback; workers are kept away by a claim of their own."""
    claim = None
    while claim is None:
        store.resume(job_id)
        claim = store.claim(job_id, "preflight", "the test", 30.0)
        if claim is None:
            store.request_pause(job_id)
    claim.await_feedback("Say what you think.")
    claim.release()


def test_feedback_lets_a_waiting_job_go_on_within_five_seconds(server: Stack, store, finished):
    """The job that is `finished` shows that the worker is up."""
    job_id = a_waiting_job(store)
    make_it_wait(store, job_id)
    assert server.job(job_id)["status"] == "awaiting_feedback"
    asked = time.monotonic()
    body = {"kind": "text", "text": "Keep the pole upright, and do not drift."}
    httpx2.post(f"{server.url}/v1/jobs/{job_id}/feedback", json=body).raise_for_status()
    assert server.job(job_id)["status"] in ("running", "succeeded")
    eventually(lambda: taken_up(server, job_id), PATIENCE_SECONDS, "a step that a worker took up")
    assert time.monotonic() - asked < PATIENCE_SECONDS
    assert server.finished(job_id)["status"] == "succeeded"


def taken_up(server: Stack, job_id: str) -> bool:
    """Tell whether a worker has done or holds a step since the job went on."""
    events = server.get(f"/v1/jobs/{job_id}/events?limit=100")["data"]
    return bool(server.job(job_id)["activity"]) or events[-1]["type"] != "job.resumed"


@pytest.fixture(scope="module")
def finished(server) -> str:
    """A job with a program, a network and an environment of the user's own."""
    task = server.get("/v1/tasks/cartpole") | {"env_kwargs": {"sutton_barto_reward": True}}
    del task["measured"]
    training = {**QUICK_TASK["training"], "settings": {"hidden": [24, 12], "learning_rate": 3e-3}}
    own = {"task": task, "training": training, "start": [{"source": MINE, "note": "mine"}]}
    body = {**QUICK_TASK, **own, "method": "eureka"}
    job_id = server.post("/v1/jobs", body)["id"]
    assert server.finished(job_id)["status"] == "succeeded"
    return job_id


def test_a_program_of_the_users_is_measured_like_any_other(server, finished):
    program = server.get(f"/v1/jobs/{finished}/programs")["data"][0]
    candidate = server.get(f"/v1/candidates/{program['candidate']}")
    assert (candidate["operator"], candidate["status"]) == ("given", "trained")
    assert candidate["fitness"]["n"] == 1
    exchanges = server.get(f"/v1/jobs/{finished}/exchanges")["data"]
    assert {e["slot"] for e in exchanges} == {0, 1}


def test_the_users_network_and_environment_are_the_ones_that_are_trained_in(
    server, finished, store
):
    (run, *_) = store.history(finished).native
    weights = FolderArtifacts(server.home / "artifacts").get(run.weights)
    shapes = {name: array.shape for name, array in safetensors.numpy.load(weights).items()}
    assert (shapes["policy.0.weight"], shapes["policy.1.weight"]) == ((24, 4), (12, 24))
    assert (
        -1.0 <= run.fitness <= 0.0
    )  # a fall costs 1 and nothing is paid: another reward than usual


def test_a_setting_that_the_learner_does_not_have_ends_the_job_before_anything_is_spent(server):
    training = {**QUICK_TASK["training"], "settings": {"learning_rat": 1e-3}}
    job = server.finished(server.post("/v1/jobs", {**QUICK_TASK, "training": training})["id"])
    assert (job["status"], job["failure"]["code"]) == ("failed", "invalid-input")
    assert "Did you mean 'learning_rate'?" in job["failure"]["detail"]
    assert job["spent"]["env_steps"] == 0


def test_answers_of_a_real_job_become_a_dataset(server, finished):
    answer = httpx2.get(f"{server.url}/v1/datasets/designer.jsonl", params={"format": "grpo"})
    rows = [json.loads(line) for line in answer.text.splitlines()]
    (row,) = [row for row in rows if row["job"] == finished and row["iteration"] == 0]
    assert len(row["completions"]) == len(row["rewards"]) >= 2
    assert "def reward" in row["completions"][0][0]["content"]


def test_an_extended_job_measures_an_edit_and_is_confirmed_again_on_fresh_seeds(
    server, finished, store
):
    first = {run.seed for run in store.history(finished).confirmations}
    assert finished in {item["job"] for item in server.get("/v1/library")["data"]}
    edit = MINE.replace("0.1", "0.2")
    server.post(f"/v1/jobs/{finished}/extend", {"iterations": 1, "start": [{"source": edit}]})
    job = server.finished(finished)
    assert (job["status"], job["extensions"], job["spec"]["iterations"]) == ("succeeded", 1, 2)
    second = {run.seed for run in store.history(finished).confirmations}
    assert len(second) == len(first) == 2
    assert not first & second
    programs = server.get(f"/v1/jobs/{finished}/programs")["data"]
    assert [program["candidate"] is not None for program in programs] == [True, True]


def test_a_fork_begins_with_the_candidate_and_ends_with_a_verdict_of_its_own(server, finished):
    fork = server.post(f"/v1/jobs/{finished}/fork", {"overrides": {"seed": 7, "candidates": 1}})
    job = server.finished(fork["id"])
    assert job["status"] == "succeeded"
    (program,) = server.get(f"/v1/jobs/{fork['id']}/programs")["data"]
    assert (program["origin"], program["candidate"] is not None) == ("fork", True)
