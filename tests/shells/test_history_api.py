"""The refinement history: iterations, candidates, code, trainings, prompts, and the download."""

from __future__ import annotations

import hashlib

import pytest

from core.ports import Screened
from core.records.programs import Screen
from tests.builders import SOURCE, proposed
from tests.rim.storing import a_claim, a_job, propose
from tests.shells import stories


@pytest.fixture
def finished(store):
    return stories.a_finished_job(store)


def candidate_of(job_id, number):
    return f"cand_{job_id.removeprefix('job_')}_0_{number}"


def test_an_iteration_tells_what_was_tried_and_what_was_learnt(api, finished):
    (iteration,) = api.get(f"/v1/jobs/{finished}/iterations").json()["data"]
    assert iteration == api.get(f"/v1/jobs/{finished}/iterations/0").json()
    assert [c["status"] for c in iteration["candidates"]] == ["trained", "rejected"]
    assert iteration["feedback"]["diagnoses"] == ["one term"]
    assert iteration["feedback"]["best"] == candidate_of(finished, 0)


def test_a_trained_candidate_has_a_fitness_with_an_interval_over_its_seeds(api, finished):
    candidate = api.get(f"/v1/candidates/{candidate_of(finished, 0)}").json()
    fitness = candidate["fitness"]
    assert fitness["mean"] == pytest.approx(0.8)
    assert fitness["low"] <= fitness["mean"] <= fitness["high"]
    assert fitness["n"] == 2
    assert candidate["report"]["components"]["near"]["share"] == 1.0
    judged = candidate["report"]["inputs"]["x[0]"]
    assert (judged["smooth"], judged["explains"], judged["lipschitz"]) == (1.2, 0.8, None)
    assert candidate["program"]["params"] == {"near": 1.0, "width": 0.5}


def test_a_rejected_candidate_says_why_and_has_no_code(api, finished):
    name = candidate_of(finished, 1)
    candidate = api.get(f"/v1/candidates/{name}").json()
    assert candidate["rejection"] == "line 3: expected a dict, but found a float"
    assert candidate["fitness"] is None
    answer = api.get(f"/v1/candidates/{name}/code")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-code")


def test_code_is_plain_python_text_that_no_browser_runs(api, finished):
    answer = api.get(f"/v1/candidates/{candidate_of(finished, 0)}/code")
    assert answer.headers["content-type"].startswith("text/x-python")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.text == SOURCE.replace("Stay near", "Variant 0.0: stay near")


def test_candidates_are_paged_in_order_and_filtered(api, finished):
    first = api.get(f"/v1/jobs/{finished}/candidates", params={"limit": 1}).json()
    second = api.get(f"/v1/jobs/{finished}/candidates", params={"after": first["next"]}).json()
    assert [c["key"] for c in (*first["data"], *second["data"])] == ["0.0", "0.1"]
    assert (first["has_more"], second["has_more"], second["next"]) == (True, False, None)
    rejected = api.get(f"/v1/jobs/{finished}/candidates", params={"status": "rejected"}).json()
    assert [c["key"] for c in rejected["data"]] == ["0.1"]


def test_every_training_of_a_candidate_is_listed_and_its_curve_is_read_alone(api, finished):
    runs = api.get(f"/v1/candidates/{candidate_of(finished, 0)}/runs").json()["data"]
    assert sorted(run["stage"] for run in runs) == ["confirm"] * 3 + ["search"] * 2
    assert all("curve" not in run for run in runs)
    searched = next(run for run in runs if run["stage"] == "search")
    run = api.get(f"/v1/runs/{searched['id']}").json()
    assert run["curve"] == {"steps": [500, 1000], "series": {"return": [10.0, 20.0]}}
    assert run["checkpoints"] == [[1000, run["fitness"]]]


def test_the_native_rewards_trainings_are_listed_as_well(api, finished):
    runs = api.get(f"/v1/jobs/{finished}/runs").json()["data"]
    assert {run["arm"] for run in runs} == {"native"}
    assert sorted(run["stage"] for run in runs) == ["baseline"] * 2 + ["confirm"] * 3


def test_prompts_and_replies_are_kept_word_for_word(api, finished):
    (exchange,) = api.get(f"/v1/jobs/{finished}/exchanges", params={"iteration": 0}).json()["data"]
    assert exchange["prompt"][1] == {"role": "user", "text": "Park the point."}
    assert exchange["reply"] == SOURCE
    assert exchange["usage"] == {"prompt_tokens": 100, "completion_tokens": 50}
    assert api.get(f"/v1/jobs/{finished}/exchanges", params={"iteration": 1}).json()["data"] == []


def test_the_best_design_downloads_as_one_file_with_its_hash(api, finished):
    best = api.get(f"/v1/jobs/{finished}/best").json()
    answer = api.get(f"/v1/jobs/{finished}/best/reward.py")
    assert best["id"] == candidate_of(finished, 0)
    assert answer.headers["content-type"].startswith("text/x-python")
    assert answer.headers["content-disposition"] == "attachment; filename=reward.py"
    assert answer.headers["etag"].strip('"') == hashlib.sha256(answer.content).hexdigest()
    compile(answer.text, "reward.py", "exec")
    assert "0.83" in answer.text


@pytest.mark.parametrize("path", ["best", "best/reward.py"])
def test_before_anything_is_measured_there_is_nothing_to_download(api, store, path):
    answer = api.get(f"/v1/jobs/{stories.a_job_in_training(store)}/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-valid-candidate-yet")


PATHS = (
    "/v1/jobs/job_{body}",
    "/v1/jobs/job_{body}/iterations",
    "/v1/jobs/job_{body}/iterations/0",
    "/v1/jobs/job_{body}/candidates",
    "/v1/jobs/job_{body}/runs",
    "/v1/jobs/job_{body}/exchanges",
    "/v1/jobs/job_{body}/events",
    "/v1/jobs/job_{body}/best",
    "/v1/jobs/job_{body}/best/reward.py",
    "/v1/candidates/cand_{body}_0_0",
    "/v1/candidates/cand_{body}_0_0/code",
    "/v1/candidates/cand_{body}_0_0/runs",
    "/v1/candidates/cand_{body}_999999999_0",
    "/v1/runs/run_{body}_search_0-0_0_0",
    "/v1/runs/run_{body}_search_0-0_999999999999999999_0",
)


@pytest.mark.parametrize("body", ["0" * 26, "nonsense", "%00", "ü" * 26])
def test_what_is_not_there_is_not_found(api, body):
    for path in PATHS:
        answer = api.get(path.format(body=body))
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["hint"]


def test_an_endless_id_is_refused(api):
    assert api.get(f"/v1/jobs/job_{'9' * 500}").status_code == 422


def test_an_iteration_that_is_not_there_is_not_found(api, finished):
    assert api.get(f"/v1/jobs/{finished}/iterations/7").status_code == 404


def test_a_candidate_shows_what_the_screens_decided(api, store):
    job = a_job(store)
    with a_claim(store, job.id) as step:
        propose(step, proposed(0), proposed(1))
        failed = Screen("duplicate", "fail", 0.999, "the same", "0.0")
        step.end_proposing(0, [Screened("0.1", (failed,), dropped=True, saved_steps=2000)])
    kept, dropped = api.get(f"/v1/jobs/{job.id}/candidates").json()["data"]
    assert (kept["screens"], kept["saved_steps"]) == ([], 0)
    assert (dropped["status"], dropped["saved_steps"]) == ("screened", 2000)
    assert dropped["screens"] == [
        {
            "name": "duplicate",
            "verdict": "fail",
            "score": 0.999,
            "message": "the same",
            "other": kept["id"],
        }
    ]
    counts = api.get(f"/v1/jobs/{job.id}").json()["counts"]
    assert (counts["rejected"], counts["screened"]) == (1, 1)
