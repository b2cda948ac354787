"""Whole jobs by the real thing: server, workers, sandbox, trainer, broker and database.

Slow because each test trains; what they check cannot be seen with less.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from core.fields import lay_out
from core.storage import FolderArtifacts, open_store
from tests.databases import fresh_database, postgres_server
from tests.stack import QUICK_TASK, Stack, eventually, family, gone, jailed, stack, valkey_url

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


BY_CHANCE = {"candidate.repair", "candidate.rejected", "candidate.screened", "log"}
NAMED_BY_PROGRAMS = (
    *("components", "features", "inputs", "params", "bounds"),
    *("episodes", "diagnoses", "parents"),
)


def shape(got: object) -> object:
    """Return the keys and types of a document; what two histories must have in common.

    Which program is the best one hangs on held-out seeds, which differ from job to job.
    """
    if isinstance(got, dict):
        return {
            key: type(value).__name__ if key in NAMED_BY_PROGRAMS else shape(value)
            for key, value in sorted(got.items())
            if value is not None
        }
    if isinstance(got, list):
        return [shape(got[0])] if got else []
    return "number" if isinstance(got, int | float) else type(got).__name__


def history_shape(server: Stack, job_id: str) -> dict:
    job = server.job(job_id)
    candidates = server.get(f"/v1/jobs/{job_id}/candidates")["data"]
    kinds = {event["type"] for event in server.get(f"/v1/jobs/{job_id}/events?limit=100")["data"]}
    return {
        "job": sorted(key for key, value in job.items() if value is not None),
        "iterations": shape(server.get(f"/v1/jobs/{job_id}/iterations")["data"]),
        "candidate": sorted(candidates[0]),
        "runs": shape(server.get(f"/v1/candidates/{candidates[0]['id']}/runs")["data"]),
        "events": sorted(kinds - BY_CHANCE),
    }


def assert_nothing_is_doubled(server: Stack, job_id: str) -> None:
    numbers = [i["number"] for i in server.get(f"/v1/jobs/{job_id}/iterations")["data"]]
    assert numbers == sorted(set(numbers))
    runs = []
    for candidate in server.get(f"/v1/jobs/{job_id}/candidates?limit=100")["data"]:
        runs += [run["id"] for run in server.get(f"/v1/candidates/{candidate['id']}/runs")["data"]]
    assert len(runs) == len(set(runs))
    sequence = [e["id"] for e in server.get(f"/v1/jobs/{job_id}/events?limit=100")["data"]]
    assert sequence == list(range(1, len(sequence) + 1))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    with stack(tmp_path_factory.mktemp("embedded")) as server:
        server.serve("--workers", "2")
        yield server


@pytest.fixture(scope="module")
def embedded_job(embedded) -> str:
    job_id = embedded.post("/v1/jobs", QUICK_TASK)["id"]
    assert embedded.finished(job_id)["status"] == "succeeded"
    return job_id


def test_a_job_is_done_on_the_embedded_stack(embedded, embedded_job):
    job = embedded.job(embedded_job)
    assert job["outcome"]["verdict"] in ("better", "equal", "worse")
    assert_nothing_is_doubled(embedded, embedded_job)


def test_what_is_asked_for_beside_the_design_is_trained_and_told(embedded):
    learner = {"library": "sb3", "algorithm": "PPO", "settings": {"n_steps": 64}, "steps": 2_000}
    wishes = {"fitness_alone": True, "ablate": True, "transfer": learner}
    job = {**QUICK_TASK, "evaluation": {**QUICK_TASK["evaluation"], **wishes}, "iterations": 1}
    finished = embedded.finished(embedded.post("/v1/jobs", job)["id"])
    outcome = finished["outcome"]
    assert outcome["fitness_alone"]["n"] == outcome["native"]["n"]
    assert (outcome["transfer"]["native"]["n"], outcome["transfer"]["designed"]["n"]) == (2, 2)
    best = embedded.get(f"/v1/candidates/{outcome['best']}")
    components, features = best["program"]["components"], best["program"]["features"]
    expected = [("component", c) for c in components if len(components) > 1]
    expected += [("feature", name) for name in features]
    found = {(one["kind"], one["name"]) for one in outcome["ablation"]}
    assert found == set(expected) if len(expected) <= 8 else len(found) == 8
    # A run may end a rollout late.
    assert finished["spent"]["env_steps"] <= 1.2 * finished["estimate"]["env_steps"]
    assert finished["estimate"]["seconds"] > 0


COMPARE = """
import json, sys, warnings
import numpy as np
import reward
from gymnasium.utils.env_checker import check_env

warnings.filterwarnings("ignore", message=".*")
check_env(reward.make_env(), skip_render_check=True)
recorded = np.load(sys.argv[1])
stored = {k[10:]: recorded[k] for k in recorded if k.startswith("component.")}
obs = {k[4:]: recorded[k] for k in recorded if k.startswith("obs.")}
after = {k[5:]: recorded[k] for k in recorded if k.startswith("next.")}
paid = reward.designed_components(obs, recorded["action"], after)
assert sorted(paid) == sorted(stored), (sorted(paid), sorted(stored))
for name, values in stored.items():
    np.testing.assert_allclose(paid[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
print(json.dumps({"rows": len(recorded["action"]), "components": len(paid)}))
"""


def test_the_download_pays_what_was_stored_where_there_is_only_gymnasium_and_numpy(
    embedded, tmp_path, bare_python
):
    body = {**QUICK_TASK, "evaluation": {"episodes": 30, "confirm_seeds": 2}}
    job_id = embedded.post("/v1/jobs", body)["id"]
    assert embedded.finished(job_id)["status"] == "succeeded"
    saved = embedded.run("best", job_id, "-o", str(tmp_path / "reward.py"))
    assert saved.returncode == 0, saved.stderr
    np.savez(tmp_path / "recorded.npz", **recorded_transitions(embedded, job_id))
    (tmp_path / "compare.py").write_text(COMPARE)
    done = subprocess.run(
        [bare_python, "compare.py", "recorded.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 1000


def recorded_transitions(server: Stack, job_id: str) -> dict[str, np.ndarray]:
    """Return the evidence of a job's best candidate by field, as the store keeps it."""
    store = open_store(f"sqlite:///{server.home}/rewardsmith.db")
    history = store.history(job_id)
    store.close()
    candidates = [c for i in history.iterations for c in i.candidates]
    best = next(c for c in candidates if c.key == history.outcome.best)
    evidence = FolderArtifacts(server.home / "artifacts").get(best.report.transitions)
    rows = safetensors.numpy.load(evidence)
    layout = lay_out(history.preflight.fields, history.preflight.observation_size)
    state = layout.values(rows["state"], layout.names("reward", next_state=False))
    after = layout.values(rows["next"], layout.names("reward"))
    terms = {name: values for name, values in rows.items() if name.startswith("component.")}
    return (
        terms
        | {"action": rows["action"]}
        | {f"obs.{name}": values for name, values in state.items()}
        | {f"next.{name}": values for name, values in after.items()}
    )


def test_two_workers_do_a_job_together_on_postgresql_and_valkey(tmp_path, embedded, embedded_job):
    with (
        postgres_server() as admin,
        fresh_database(admin) as database,
        valkey_url() as broker,
        stack(tmp_path / "grown", database_url=database, broker_url=broker) as server,
    ):
        assert server.run("db", "upgrade").returncode == 0
        server.serve("--workers", "0")
        server.worker()
        server.worker()
        job_id = server.post("/v1/jobs", QUICK_TASK)["id"]
        assert server.finished(job_id)["status"] == "succeeded"
        assert_nothing_is_doubled(server, job_id)
        assert history_shape(server, job_id) == history_shape(embedded, embedded_job)


def test_the_search_s_best_run_again_before_one_of_them_is_confirmed(embedded):
    evaluation = {**QUICK_TASK["evaluation"], "runoff_candidates": 2, "runoff_seeds": 2}
    job_id = embedded.post("/v1/jobs", {**QUICK_TASK, "evaluation": evaluation})["id"]
    job = embedded.finished(job_id)
    assert job["status"] == "succeeded"
    runs = embedded.get(f"/v1/candidates/{job['best']['id']}/runs")["data"]
    seeds = {run["stage"]: [] for run in runs}
    for run in runs:
        seeds[run["stage"]].append(run["seed"])
    assert sorted(seeds["runoff"]) == [200, 201]
    assert sorted(seeds["confirm"]) == [500, 501]
    assert_nothing_is_doubled(embedded, job_id)


LONG = {**QUICK_TASK, "training": {"steps": 60_000, "seeds": 1, "packs": 1, "checkpoints": 2}}


@pytest.mark.parametrize("broker", ["filesystem", "valkey"])
def test_a_worker_killed_in_the_middle_of_a_training_costs_time_and_nothing_else(tmp_path, broker):
    def killed(server: Stack) -> None:
        server.serve("--workers", "0")
        first = server.worker()
        job_id = server.post("/v1/jobs", LONG)["id"]
        server.wait_for(job_id, "train")
        processes = eventually(
            lambda: family(first.pid) if jailed(first.pid) else None,
            30,
            "worker, zygotes and at least one child",
        )
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        eventually(lambda: gone(processes), 30, "no process of the killed worker is left")
        server.worker()
        job = server.finished(job_id)
        assert job["status"] == "succeeded"
        assert_nothing_is_doubled(server, job_id)

    if broker == "filesystem":
        with stack(tmp_path / "home", lease_seconds="3") as server:
            killed(server)
    else:
        with valkey_url() as url, stack(tmp_path / "home", broker_url=url, lease_seconds="3") as s:
            killed(s)


HALVING = {
    **QUICK_TASK,
    "candidates": 3,
    "training": {
        "steps": 300_000,  # a rung lasts long enough to be seen
        "seeds": 1,
        "packs": 1,
        "checkpoints": 2,
        "rungs": [0.3, 0.6, 1.0],
        "keep": 0.6,
    },
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with stack(tmp_path_factory.mktemp("undisturbed")) as server:
        server.serve("--workers", "0")
        server.worker()
        job_id = server.post("/v1/jobs", HALVING)["id"]
        assert server.finished(job_id)["status"] == "succeeded"
        return history_shape(server, job_id), rungs_of(server, job_id)


def rungs_of(server: Stack, job_id: str) -> list[tuple[int, int, int, list[int]]]:
    """Return what every run of the search says of its length, in order."""
    found = []
    for candidate in server.get(f"/v1/jobs/{job_id}/candidates?limit=100")["data"]:
        for run in server.get(f"/v1/candidates/{candidate['id']}/runs")["data"]:
            if run["stage"] == "search":
                steps = [steps for steps, _ in run["checkpoints"]]
                found.append((candidate["number"], run["rung"], run["env_steps"], steps))
    return sorted(found)


@pytest.mark.parametrize("rung", [0, 1, 2])
@pytest.mark.parametrize("victim", ["the training child", "the worker"])
def test_a_halving_that_is_killed_in_any_rung_repeats_one_at_most_and_loses_nothing(
    tmp_path, undisturbed, victim, rung
):
    with stack(tmp_path / "home", lease_seconds="3") as server:
        server.serve("--workers", "0")
        worker = server.worker()
        job_id = server.post("/v1/jobs", HALVING)["id"]
        child = eventually(lambda: training_child(server, worker, job_id, rung), 120, "its child")
        if victim == "the worker":
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
            eventually(lambda: gone([child]), 30, "the child of the killed worker is gone")
            server.worker()
        else:
            child.kill()
        assert server.finished(job_id)["status"] == "succeeded"
        assert_nothing_is_doubled(server, job_id)
        shape, rungs = undisturbed
        assert rungs_of(server, job_id) == rungs
        assert history_shape(server, job_id) == shape


def training_child(server: Stack, worker, job_id: str, rung: int):
    """Return the process that trains that rung, once it has begun."""

    def trains() -> bool:
        name = f"train/0/{rung}/"
        activity = [s for s in server.job(job_id)["activity"] if s["step"].startswith(name)]
        return any(step["phase"] == "training" and step["done"] for step in activity)

    if not trains():
        return None
    children = jailed(worker.pid)
    # Asked again: what measures comes next, and is another child.
    return children[0] if len(children) == 1 and trains() else None


@pytest.mark.parametrize(("verb", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_cancel_and_pause_reach_a_running_training_and_leave_no_process(tmp_path, verb, status):
    with stack(tmp_path / "home") as server:
        server.serve("--workers", "0")
        worker = server.worker()
        job_id = server.post("/v1/jobs", {**LONG, "training": {"steps": 2_000_000, "seeds": 1}})[
            "id"
        ]
        server.wait_for(job_id, "baseline")
        eventually(lambda: jailed(worker.pid), 30, "the training child")
        server.post(f"/v1/jobs/{job_id}/{verb}")
        eventually(lambda: server.job(job_id)["status"] == status, 5, f"the job is {status}")
        eventually(lambda: len(family(worker.pid)) == 3, 5, "worker and zygotes alone are left")
        if verb == "pause":
            server.post(f"/v1/jobs/{job_id}/resume")
            server.wait_for(job_id, "baseline")


def test_a_lost_message_costs_seconds(tmp_path):
    with stack(tmp_path / "home") as server:
        server.serve("--workers", "0")
        job_id = server.post("/v1/jobs", QUICK_TASK)["id"]
        for message in (server.home / "broker" / "messages").iterdir():
            message.unlink()
        alive = tmp_path / "alive"
        server.worker("--alive-file", str(alive))
        eventually(alive.exists, 60, "the worker says that it is alive")
        assert server.finished(job_id)["status"] == "succeeded"


def test_an_environment_of_the_users_own_is_named_by_its_module(tmp_path):
    folder = Path(__file__).parents[2] / "examples" / "environments"
    with stack(tmp_path / "home", environment_paths=str(folder)) as server:
        server.serve("--workers", "2")
        body = {
            **QUICK_TASK,
            "task": {
                "environment": "corridor_env:Corridor-v0",
                "description": "Reach the far end of the corridor quickly.",
            },
        }
        job_id = server.post("/v1/jobs", body)["id"]
        job = server.finished(job_id)
        assert job["status"] == "succeeded", job
        reward = server.run("best", job_id, "-o", str(tmp_path / "reward.py"))
        assert reward.returncode == 0
        assert "corridor_env:Corridor-v0" in (tmp_path / "reward.py").read_text()


def test_an_environment_that_is_not_there_fails_with_what_to_do(embedded):
    body = {"task": {"environment": "nowhere:Nothing-v0", "description": "Do nothing."}}
    job = embedded.finished(embedded.post("/v1/jobs", body)["id"])
    assert job["status"] == "failed"
    assert job["failure"]["code"] == "environment-unusable"
    assert "nowhere" in job["failure"]["detail"]


def test_the_terminal_tells_a_failed_job_by_its_exit_code(embedded):
    done = embedded.run("design", "nowhere:Nothing-v0", "Do nothing.", "--watch", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1])["verdict"] is None


def test_a_worker_refuses_a_database_that_is_not_migrated(tmp_path: Path):
    with stack(tmp_path / "home", database_url=f"sqlite:///{tmp_path}/empty.db") as server:
        done = server.run("worker")
        assert done.returncode == 2
        assert "rewardsmith db upgrade" in done.stderr
