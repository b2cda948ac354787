"""Feedback, programs, extension, retry, fork, library and dataset over REST, on both databases."""

from __future__ import annotations

import json

import pytest

from core.datasets import split_of
from core.storage.ids import candidate_id
from tests.builders import SOURCE
from tests.shells import stories

CARTPOLE = {"task": "cartpole-park"}
PARK = """import numpy as np


def reward(obs, action, next_obs, params):
    return {"near": np.exp(-np.square(next_obs.cart_position - 1.0))}
"""
MINE = SOURCE.replace("Stay near", "My own: stay near")


def say(api, job_id, body, **headers):
    return api.post(f"/v1/jobs/{job_id}/feedback", json=body, headers=headers)


def give(api, job_id, source=MINE, **body):
    return api.post(f"/v1/jobs/{job_id}/candidates", json={"source": source, **body})


# --- feedback ---------------------------------------------------------------------------------


def test_what_is_said_is_kept_and_listed_and_a_worker_is_woken(api, store, woken):
    job_id = stories.a_job_in_training(store)
    answer = say(api, job_id, {"kind": "text", "text": "slower", "candidate": "0.0"})
    remark = answer.json()
    assert (answer.status_code, remark["number"], remark["iteration"]) == (201, 0, 0)
    assert remark["candidate"] == candidate_id(job_id, 0, 0)
    assert api.get(f"/v1/jobs/{job_id}/feedback").json()["data"] == [remark]
    assert woken == [job_id]


def test_a_candidate_may_be_named_by_its_id(api, store):
    job_id = stories.a_job_in_training(store)
    name = candidate_id(job_id, 0, 0)
    said = say(api, job_id, {"kind": "thumb", "candidate": name, "value": 1}).json()
    assert (said["candidate"], said["value"]) == (name, 1)


def test_feedback_lets_a_waiting_job_go_on(api, store, woken):
    job_id = stories.a_job_in_training(store)
    with stories.step(store, job_id, "reflect/0") as claim:
        claim.await_feedback("Say what you think.")
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "awaiting_feedback"
    say(api, job_id, {"kind": "text", "text": "slower"})
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "running"
    assert woken == [job_id]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "text"}, "expected `text`"),
        ({"kind": "text", "text": "  "}, "expected `text`"),
        ({"kind": "text", "text": "x", "value": 1}, "`value` are for judgements"),
        ({"kind": "text", "text": "x" * 20_001}, "20000"),
        ({"kind": "thumb", "value": 1}, "expected `candidate`"),
        ({"kind": "thumb", "candidate": "0.0", "value": 0}, "1 (up) or -1 (down)"),
        ({"kind": "thumb", "candidate": "0.0", "other": "0.1", "value": 1}, "no `other`"),
        ({"kind": "thumb", "candidate": "0.0", "value": 2}, "less than or equal to 1"),
        ({"kind": "preference", "candidate": "0.0", "value": 1}, "expected `candidate`, `other`"),
        (
            {"kind": "preference", "candidate": "0.0", "other": "0.0", "value": 1},
            "two different candidates",
        ),
        ({"kind": "thumb", "candidate": "0.1", "value": 1}, "no program"),
        ({"kind": "shout", "text": "x"}, "'text', 'thumb' or 'preference'"),
    ],
)
def test_feedback_that_cannot_be_meant_is_refused_in_words(api, store, body, words):
    job_id = stories.a_job_in_training(store)
    answer = say(api, job_id, body)
    assert answer.status_code == 422
    assert words in json.dumps(answer.json(), ensure_ascii=False)
    assert api.get(f"/v1/jobs/{job_id}/feedback").json()["data"] == []


@pytest.mark.parametrize(
    "name", ["0.9", "native", "cand_x", "first", candidate_id("job_" + "0" * 26, 0, 0)]
)
def test_a_candidate_that_is_not_there_is_not_found(api, store, name):
    job_id = stories.a_job_in_training(store)
    answer = say(api, job_id, {"kind": "text", "text": "x", "candidate": name})
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_the_same_key_says_it_once(api, store):
    job_id, key = stories.a_job_in_training(store), {"Idempotency-Key": "k"}
    first, again = (say(api, job_id, {"kind": "text", "text": "x"}, **key) for _ in range(2))
    other = say(api, job_id, {"kind": "text", "text": "y"}, **key)
    assert (first.json(), again.headers["idempotent-replayed"]) == (again.json(), "true")
    assert other.json()["code"] == "idempotency-key-reused"
    assert len(api.get(f"/v1/jobs/{job_id}/feedback").json()["data"]) == 1


# --- programs ---------------------------------------------------------------------------------


def test_a_job_starts_from_programs_of_ones_own(api):
    body = {**CARTPOLE, "start": [{"source": PARK, "note": "mine"}]}
    job = api.post("/v1/jobs", json=body).json()
    (given,) = api.get(f"/v1/jobs/{job['id']}/programs").json()["data"]
    assert (given["source"], given["note"], given["origin"]) == (PARK, "mine", "user")
    assert given["candidate"] is None
    plain = api.post("/v1/jobs", json=CARTPOLE).json()
    assert job["spec"] == plain["spec"]


def test_a_program_that_breaks_a_rule_is_refused_at_the_door_with_its_place(api):
    wrong = PARK.replace("cart_position", "cart_positon")
    body = {**CARTPOLE, "start": [{"source": PARK}, {"source": wrong}]}
    problem = api.post("/v1/jobs", json=body).json()
    assert (problem["status"], problem["code"]) == (422, "program-rejected")
    assert problem["errors"][0]["pointer"] == "/start/1/source"
    assert "cart_positon" in problem["detail"]
    assert "cart_position" in problem["detail"] + problem["hint"]
    assert api.get("/v1/jobs").json()["data"] == []


def test_where_the_fields_are_not_known_yet_names_are_left_to_the_sandbox(api):
    task = {"task": "Unheard-v0", "description": "Do it."}
    assert api.post("/v1/jobs", json={**task, "start": [{"source": MINE}]}).status_code == 202
    broken = api.post("/v1/jobs", json={**task, "start": [{"source": "def reward(:"}]})
    assert broken.json()["code"] == "program-rejected"


@pytest.mark.parametrize("start", [{}, {"source": PARK, "library": "job_x"}, {"library": "job_x"}])
def test_a_start_is_either_a_program_or_a_finished_job(api, start):
    answer = api.post("/v1/jobs", json={**CARTPOLE, "start": [start]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/start/0")


def test_the_estimate_of_the_budget_counts_the_programs_of_the_start(api):
    training = {"steps": 1_000, "seeds": 1}
    plain = {**CARTPOLE, "iterations": 1, "candidates": 1, "training": training}
    least = api.post("/v1/jobs", json=plain).json()["estimate"]["env_steps"]
    exact = {**plain, "budget": {"env_steps": least}}
    assert api.post("/v1/jobs", json=exact).status_code == 202
    answer = api.post("/v1/jobs", json={**exact, "start": [{"source": PARK}]})
    assert f"at least {least + 1_000}" in answer.json()["detail"]


def test_an_edited_candidate_is_handed_in_with_its_parent(api, store, woken):
    job_id = stories.a_job_in_training(store)
    answer = give(api, job_id, parent="0.0", note="half the width")
    assert (answer.status_code, answer.json()["origin"]) == (202, "edit")
    assert answer.json()["parent"] == candidate_id(job_id, 0, 0)
    assert woken == [job_id]


def test_a_handed_in_program_is_held_to_the_rules(api, store):
    problem = give(api, stories.a_job_in_training(store), "import os\n").json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("program-rejected", "/source")
    assert "os" in problem["detail"]


def test_a_program_says_which_candidate_it_became(api, store):
    job_id = stories.a_job_in_training(store)
    give(api, job_id)
    with stories.step(store, job_id, "propose/1") as claim:
        claim.add_candidate(stories.trained_from_given(1, 2, given=0))
    (given,) = api.get(f"/v1/jobs/{job_id}/programs").json()["data"]
    assert given["candidate"] == candidate_id(job_id, 1, 2)
    assert api.get(f"/v1/candidates/{given['candidate']}").json()["given"] == 0


def test_a_finished_job_says_how_it_would_take_a_program(api, store):
    answer = give(api, stories.a_finished_job(store))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "`start`" in answer.json()["hint"]


# --- going on ---------------------------------------------------------------------------------


def test_a_finished_job_is_extended_and_its_outcome_stands_in_the_event(api, store, woken):
    job_id = stories.a_finished_job(store)
    answer = api.post(f"/v1/jobs/{job_id}/extend", json={"iterations": 2})
    job = answer.json()
    assert (answer.status_code, job["status"], job["outcome"]) == (202, "queued", None)
    assert (job["spec"]["iterations"], job["extensions"]) == (4, 1)
    told = api.get(f"/v1/jobs/{job_id}/events?limit=100").json()["data"][-1]
    assert (told["type"], told["data"]["outcome"]["verdict"]) == ("job.extended", "better")
    assert woken == [job_id]


def test_a_finished_job_is_extended_by_a_program_alone(api, store):
    job_id = stories.a_finished_job(store)
    answer = api.post(f"/v1/jobs/{job_id}/extend", json={"start": [{"source": MINE}]})
    assert answer.status_code == 202
    assert len(api.get(f"/v1/jobs/{job_id}/programs").json()["data"]) == 1


@pytest.mark.parametrize(
    "body",
    [{}, {"iterations": 0}, {"iterations": 51}, {"budget": {}}, {"start": [{"source": "("}]}],
)
def test_an_extension_of_nothing_or_of_too_much_is_refused(api, store, body):
    job_id = stories.a_finished_job(store)
    assert api.post(f"/v1/jobs/{job_id}/extend", json=body).status_code == 422
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "succeeded"


BIG = {
    **CARTPOLE,
    "iterations": 2,
    "candidates": 32,
    "training": {"steps": 50_000_000, "seeds": 20},
}


def test_a_job_is_not_extended_beyond_what_a_new_one_may_plan(api):
    refused = api.post("/v1/jobs", json={**BIG, "iterations": 50}).json()
    job_id = api.post("/v1/jobs", json=BIG).json()["id"]
    answer = api.post(f"/v1/jobs/{job_id}/extend", json={"iterations": 48})
    assert (answer.status_code, answer.json()["detail"]) == (422, f"plan: {refused['detail']}")
    assert api.get(f"/v1/jobs/{job_id}").json()["spec"]["iterations"] == 2
    assert api.post(f"/v1/jobs/{job_id}/extend", json={"iterations": 1}).status_code == 202


def test_programs_that_are_handed_in_belong_to_what_a_job_may_plan(api, monkeypatch):
    job_id = api.post("/v1/jobs", json=BIG).json()["id"]
    monkeypatch.setattr("api.people.MAX_PLANNED_STEPS", 10**8)
    refused = give(api, job_id, PARK)
    assert (refused.status_code, refused.json()["detail"][:14]) == (422, "plan: expected")
    assert api.get(f"/v1/jobs/{job_id}/programs").json()["data"] == []


def test_a_failed_job_is_retried_and_others_are_not(api, store, woken):
    job_id = stories.a_failed_job(store)
    answer = api.post(f"/v1/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.json()["failure"] is None
    assert woken == [job_id]
    again = api.post(f"/v1/jobs/{job_id}/retry")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_a_repeated_retry_with_its_key_is_the_same_retry(api, store):
    job_id, key = stories.a_failed_job(store), {"Idempotency-Key": "k"}
    answers = [api.post(f"/v1/jobs/{job_id}/retry", headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].headers["idempotent-replayed"] == "true"


def fork(api, job_id, **body):
    return api.post(f"/v1/jobs/{job_id}/fork", json=body)


def test_a_fork_is_a_new_job_for_the_same_task_that_starts_from_the_best_candidate(
    api, store, woken
):
    parent = stories.a_finished_job(store)
    answer = fork(api, parent, overrides={"method": "eureka", "training": {"seeds": 4}})
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    old = api.get(f"/v1/jobs/{parent}").json()["spec"]
    changed = {"method": "eureka", "training": {**old["training"], "seeds": 4}}
    assert job["spec"] == {**old, **changed}
    (given,) = api.get(f"/v1/jobs/{job['id']}/programs").json()["data"]
    assert (given["origin"], "def reward" in given["source"]) == ("fork", True)
    assert given["note"] == f"Candidate 0.0 of job {parent}."
    assert woken == [job["id"]]


def test_a_fork_may_start_from_any_candidate_that_has_a_program(api, store):
    parent = stories.a_finished_job(store)
    assert fork(api, parent, candidate="0.0").status_code == 202
    assert fork(api, parent, candidate="0.1").json()["code"] == "no-code"
    assert fork(api, parent, candidate="5.0").status_code == 404
    assert fork(api, stories.a_new_job(store)).json()["code"] == "no-valid-candidate-yet"


@pytest.mark.parametrize(
    ("overrides", "pointer"),
    [
        ({"iterations": 99}, "/overrides/iterations"),
        ({"training": {"seeds": "two"}}, "/overrides/training/seeds"),
        ({"wings": 2}, "/overrides/wings"),
        ({"task": "pendulum"}, "/overrides"),
    ],
)
def test_an_override_that_cannot_be_is_refused_at_its_place(api, store, overrides, pointer):
    problem = fork(api, stories.a_finished_job(store), overrides=overrides).json()
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, pointer)


def test_a_fork_with_a_budget_of_money_needs_a_model_of_known_price_as_a_new_job_does(api, store):
    parent = stories.a_finished_job(store)
    unpriced = {"designer": {"name": "openai", "model": "home-made"}, "budget": {"money": 1.0}}
    refused = fork(api, parent, overrides=unpriced)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/budget/money")
    priced = {**unpriced, "designer": {"name": "openai", "model": "gpt-5-mini"}}
    assert fork(api, parent, overrides=priced).status_code == 202


def test_a_job_whose_model_has_no_known_price_is_not_extended_by_a_budget_of_money(api, store):
    parent = stories.a_finished_job(store)
    model = {"name": "openai", "model": "home-made"}
    job_id = fork(api, parent, overrides={"designer": model}).json()["id"]
    more = {"iterations": 1, "budget": {"money": 1.0}}
    refused = api.post(f"/v1/jobs/{job_id}/extend", json=more)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/budget/money")


def test_another_learner_in_a_fork_does_not_inherit_the_settings_of_the_old_one(api, store):
    base = stories.a_job_in_training(store)
    first = fork(api, base, candidate="0.0", overrides={"training": {"settings": {"clip": 0.1}}})
    assert first.json()["spec"]["training"]["settings"] == {"clip": 0.1}
    again = {"source": MINE}
    job_id = first.json()["id"]
    give(api, job_id, **again)
    with stories.step(store, job_id, "propose/0") as claim:
        claim.add_candidate(stories.trained_from_given(0, 0, given=0))
    other = fork(api, job_id, candidate="0.0", overrides={"training": {"algorithm": "dqn"}})
    assert other.json()["spec"]["training"]["settings"] == {}


# --- library and dataset ----------------------------------------------------------------------


def test_finished_designs_are_found_and_a_job_can_begin_with_one(api, store):
    done = stories.a_finished_job(store)
    (item,) = api.get("/v1/library", params={"q": "park the point"}).json()["data"]
    assert (item["job"], item["verdict"], item["candidate"]) == (
        done,
        "better",
        candidate_id(done, 0, 0),
    )
    assert item["score"] > 0
    assert api.get("/v1/library", params={"q": "submarine"}).json()["data"] == []
    assert len(api.get("/v1/library").json()["data"]) == 1
    body = {"task": item["task"], "start": [{"library": done}]}
    job = api.post("/v1/jobs", json=body).json()
    (given,) = api.get(f"/v1/jobs/{job['id']}/programs").json()["data"]
    assert (given["origin"], given["source"]) == ("library", item["source"])
    assert done in given["note"]


def test_a_design_whose_fields_the_task_does_not_have_is_refused_at_once(api, store):
    done = stories.a_finished_job(store)
    problem = api.post("/v1/jobs", json={**CARTPOLE, "start": [{"library": done}]}).json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == (
        "program-rejected",
        "/start/0/library",
    )


def dataset(api, **params):
    answer = api.get("/v1/datasets/designer.jsonl", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jsonl")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_what_designers_were_asked_and_what_came_of_it_is_exported_line_by_line(api, store):
    done = stories.a_finished_job(store)
    stories.a_new_job(store)
    (row,) = dataset(api)
    assert row["prompt"][0] == {"role": "system", "content": "You design rewards."}
    assert (row["completion"][0]["role"], row["job"]) == ("assistant", done)
    assert (row["fitness"], row["native"]) == (pytest.approx(0.8), pytest.approx(0.2))
    assert row["split"] == split_of("point-park")
    assert dataset(api, format="dpo") == dataset(api, format="grpo") == []
    assert dataset(api, task="pendulum") == []


def test_the_export_goes_through_all_pages_of_jobs(api, store, monkeypatch):
    monkeypatch.setattr("api.datasets.JOBS_AT_ONCE", 2)
    done = {stories.a_finished_job(store) for _ in range(3)}
    assert {row["job"] for row in dataset(api)} == done


def test_an_unknown_format_is_refused(api):
    assert api.get("/v1/datasets/designer.jsonl", params={"format": "ppo"}).status_code == 422


# --- what strangers send ----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["feedback", "candidates", "extend", "fork"])
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"[" * 200_000, id="deeper than the parser"),
        pytest.param(b'{"overrides": ' + b'{"a":' * 900 + b"1" + b"}" * 901, id="deep"),
        pytest.param(b'{"value": NaN}', id="NaN"),
        pytest.param(b'{"iterations": ' + b"9" * 40 + b"}", id="a large integer"),
        pytest.param(b'{"note": "\\ud800"}', id="a lone surrogate"),
        pytest.param(b'{"kind": "text", "text": "a\\u0000b"}', id="a NUL"),
        pytest.param(b'{"wings": 2}', id="an unknown field"),
    ],
)
def test_a_body_that_is_no_request_is_refused_in_words(api, store, path, raw):
    job_id = stories.a_new_job(store)
    json_body = {"Content-Type": "application/json"}
    answer = api.post(f"/v1/jobs/{job_id}/{path}", content=raw, headers=json_body)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"


def test_an_empty_fork_is_a_fork_of_the_best(api, store):
    assert fork(api, stories.a_finished_job(store)).status_code == 202
