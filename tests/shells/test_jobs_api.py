"""Creating, listing and steering jobs over REST, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from api.dependencies import FirstStep
from api.limits import MAX_SEEDS
from api.rates import Rates
from core.methods import METHODS
from core.seeding import CONFIRM_STRIDE
from tests.rim.storing import until
from tests.shells import stories

CARTPOLE = {"task": "cartpole-park"}
POINT = {
    "environment": "my_package:PointPark-v0",
    "description": "Park the point.",
    "fields": [{"name": "position", "source": "obs[0]"}, {"name": "d", "source": "info.distance"}],
    "fitness": {"kind": "share", "where": "0.75 < position < 1.25", "horizon": 100},
}


def create(api, body=CARTPOLE, **headers):
    return api.post("/v1/jobs", json=body, headers=headers)


# --- creating ---------------------------------------------------------------------------------


def test_a_name_of_the_catalogue_is_all_that_a_job_needs(api, woken):
    answer = create(api)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["spec"]["task"]["environment"]) == ("queued", "CartPole-v1")
    assert api.get(answer.headers["location"]).json() == job
    assert woken == [job["id"]]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(CARTPOLE, id="a task of the catalogue"),
        pytest.param({"task": POINT}, id="a task said in full"),
        pytest.param({"task": "pendulum-swing"}, id="a fitness of parts"),
        pytest.param({"task": "Ant-v5", "description": "Run."}, id="an environment with words"),
        pytest.param(
            {**CARTPOLE, "designer": {"name": "openai", "model": "m"}, "mode": "add", "seed": 9},
            id="with choices",
        ),
    ],
)
def test_a_spec_can_be_posted_again_unchanged(api, body):
    spec = create(api, body).json()["spec"]
    assert create(api, spec).json()["spec"] == spec


def test_the_tasks_own_training_defaults_stand_below_the_requests(api):
    spec = create(api, {**CARTPOLE, "training": {"seeds": 3}}).json()["spec"]
    assert (spec["training"]["steps"], spec["training"]["seeds"]) == (150_000, 3)


def test_a_method_fills_in_what_the_request_leaves_out(api):
    asked = {**CARTPOLE, "method": "eureka", "candidates": 3, "evaluation": {"episodes": 7}}
    spec = create(api, asked).json()["spec"]
    assert (spec["candidates"], spec["iterations"], spec["design"]) == (3, 5, "reward")
    assert (spec["training"]["seeds"], spec["training"]["steps"]) == (1, 150_000)
    assert (spec["evaluation"]["episodes"], spec["evaluation"]["fitness_alone"]) == (7, True)
    assert spec["context"] == {
        "source": True,
        "examples": 0,
        "same_task": False,
        "safety": False,
        "prompt_tokens": None,
    }


def test_what_is_asked_for_outweighs_the_method(api):
    asked = {
        **CARTPOLE,
        "method": "text2reward",
        "await_feedback": False,
        "design": "joint",
        "training": {"rungs": [0.5, 1.0]},
        "context": {"examples": 0},
    }
    spec = create(api, asked).json()["spec"]
    assert (spec["await_feedback"], spec["design"]) == (False, "joint")
    assert (spec["training"]["rungs"], spec["context"]["examples"]) == ([0.5, 1.0], 0)


@pytest.mark.parametrize("method", METHODS)
def test_a_spec_with_a_methods_defaults_can_be_posted_again(api, method):
    spec = create(api, {**CARTPOLE, "method": method}).json()["spec"]
    assert create(api, spec).json()["spec"] == spec


def test_a_description_replaces_the_words_of_a_catalogue_task(api):
    task = create(api, {**CARTPOLE, "description": "Park it gently."}).json()["spec"]["task"]
    assert (task["name"], task["description"]) == ("cartpole-park", "Park it gently.")


def test_a_field_from_outside_the_observation_is_not_shown_to_the_policy(api):
    fields = create(api, {"task": POINT}).json()["spec"]["task"]["fields"]
    assert [field["visible"] for field in fields] == [["policy", "reward"], ["reward"]]


def test_an_unknown_environment_is_accepted_because_only_preflight_can_tell(api):
    answer = create(api, {"task": "NoSuchThing-v7", "description": "Do it."})
    assert answer.status_code == 202


def test_no_request_asks_for_more_seeds_than_every_stage_of_a_job_has():
    assert MAX_SEEDS <= CONFIRM_STRIDE


def test_a_broker_that_is_down_does_not_lose_the_job(api, app):
    def down(seen, job_id):
        raise ConnectionError("no broker")

    app.state.house.notify = down
    answer = create(api)
    assert answer.status_code == 202
    assert api.get(answer.headers["location"]).status_code == 200


def test_a_new_job_is_announced_with_the_offer_that_it_was_stored_with(api, app, store, woken):
    told = []
    app.state.house.first = FirstStep(60.0, lambda seen, job: told.append(job))
    job = create(api).json()["id"]
    assert (told, woken) == ([job], [])
    assert store.offer(job, "preflight", 60.0) is None


def test_in_a_rush_nobody_is_told_and_who_has_a_free_slot_finds_the_job(
    api, app, store, woken, monkeypatch
):
    monkeypatch.setattr("api.dependencies.UNTOLD_SECONDS", 0.01)
    told = []
    app.state.house.first = FirstStep(60.0, lambda seen, job: told.append(job), Rates(2))
    jobs = [create(api).json()["id"] for _ in range(4)]
    assert (told, woken) == (jobs[:2], [])
    assert store.neglected_jobs() == (), "no sweep of a busy worker has to look at them"
    assert until(lambda: len(store.unheard_jobs(["preflight"], 10)) == 2)
    assert store.unheard_jobs(["preflight"], 10) == tuple(jobs[2:])


# --- idempotency ------------------------------------------------------------------------------


def test_the_same_key_and_body_give_the_same_job(api):
    first = create(api, **{"Idempotency-Key": "k1"})
    again = api.post(
        "/v1/jobs",
        content=b'{ "task":  "cartpole-park" }',
        headers={"Idempotency-Key": "k1", "Content-Type": "application/json"},
    )
    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


def test_the_same_key_with_another_body_is_refused(api):
    create(api, **{"Idempotency-Key": "k1"})
    answer = create(api, {**CARTPOLE, "seed": 1}, **{"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


def test_twenty_posts_at_once_make_one_job(api):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: create(api, **{"Idempotency-Key": "k"}), range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(api.get("/v1/jobs").json()["data"]) == 1


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
def test_a_key_that_is_none_is_refused(api, key):
    assert create(api, **{"Idempotency-Key": key}).status_code == 422


# --- listing ----------------------------------------------------------------------------------


def test_pages_show_every_job_once_newest_first_while_new_ones_arrive(api, store):
    ids = [stories.a_new_job(store) for _ in range(5)]
    seen, after = [], None
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = api.get("/v1/jobs", params=params).json()
        seen += [job["id"] for job in page["data"]]
        stories.a_new_job(store)
        if not page["has_more"]:
            break
        after = page["next"]
    assert seen == ids[::-1]
    assert page["next"] is None


def test_jobs_are_filtered_by_status_and_task(api, store):
    queued, failed = stories.a_new_job(store), stories.a_failed_job(store)
    other = create(api).json()["id"]

    def listed(**params):
        return {job["id"] for job in api.get("/v1/jobs", params=params).json()["data"]}

    assert listed(status="failed") == {failed}
    assert listed(task="cartpole-park") == {other}
    assert listed(status="queued", task="point-park") == {queued}


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"limit": 0}, id="an empty page"),
        pytest.param({"limit": 101}, id="a page too large"),
        pytest.param({"limit": "many"}, id="a limit in words"),
        pytest.param({"status": "sleeping"}, id="an unknown state"),
        pytest.param({"task": "a\0b"}, id="a task with a NUL"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(api, params):
    assert api.get("/v1/jobs", params=params).status_code == 422


# --- steering ---------------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_at_once_and_twice_is_once(api, store):
    job_id = stories.a_new_job(store)
    for _ in range(2):
        answer = api.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")


def test_a_running_job_is_cancelled_when_its_worker_lets_go(api, store):
    job_id = stories.a_job_in_training(store)
    claim = stories.while_training(store, job_id)
    asked = api.post(f"/v1/jobs/{job_id}/cancel").json()
    assert (asked["status"], asked["cancel_requested"]) == ("running", True)
    claim.release()
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "cancelled"


def test_a_paused_job_goes_on_where_it_stopped_and_a_worker_is_woken(api, store, woken):
    job_id = stories.a_job_in_training(store)
    assert api.post(f"/v1/jobs/{job_id}/pause").json()["status"] == "paused"
    assert api.post(f"/v1/jobs/{job_id}/resume").json()["status"] == "running"
    assert woken == [job_id]


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_a_finished_job_cannot_be_steered_and_the_answer_says_what_can_be_done(api, store, verb):
    answer = api.post(f"/v1/jobs/{stories.a_finished_job(store)}/{verb}")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "conflict")
    assert f"{verb} is possible while a job is " in problem["detail"]
    assert problem["detail"].endswith("is succeeded.")
    assert "submit a new one" in problem["hint"]


# --- reading ----------------------------------------------------------------------------------


def test_a_job_says_what_is_being_done_right_now(api, store):
    job_id = stories.a_job_in_training(store)
    claim = stories.while_training(store, job_id)
    (doing,) = api.get(f"/v1/jobs/{job_id}").json()["activity"]
    claim.release()
    assert (doing["step"], doing["done"], doing["total"]) == ("train/0/0/0", 600, 2000)
    assert api.get(f"/v1/jobs/{job_id}").json()["counts"] == {
        "proposed": 2,
        "rejected": 1,
        "screened": 0,
        "trained": 0,
        "failed": 0,
    }


def test_a_job_that_failed_in_preflight_carries_the_problem_that_a_refusal_would_have_been(
    api, store
):
    failure = api.get(f"/v1/jobs/{stories.a_failed_job(store)}").json()["failure"]
    assert (failure["code"], failure["status"]) == ("environment-unusable", 422)
    assert "no such environment" in failure["detail"]
    assert api.get(failure["type"]).json()["title"] == failure["title"]


def test_a_finished_job_tells_its_verdict_with_intervals(api, store):
    job = api.get(f"/v1/jobs/{stories.a_finished_job(store)}").json()
    assert job["status"] == "succeeded"
    assert job["outcome"]["verdict"] == "better"
    assert job["outcome"]["designed"] == {"mean": 0.83, "low": 0.8, "high": 0.9, "n": 3}
    assert job["best"]["id"] == job["outcome"]["best"]
    assert job["spent"]["env_steps"] > 0


# --- what a job would cost ------------------------------------------------------------------------


def estimated(api, **body):
    return api.post("/v1/jobs/estimate", json={**CARTPOLE, **body})


def test_an_estimate_stores_nothing_and_wakes_nobody(api, woken):
    plan = estimated(api).json()
    # The baseline, three iterations of four candidates, and the confirmation of one of them.
    assert plan["env_steps"] == 150_000 * (2 + 3 * 4 * 2 + 2 * 5)
    assert (plan["asks"], plan["tokens"], plan["money"]) == (0, 0, 0.0)
    assert plan["seconds"] is None
    assert api.get("/v1/jobs").json()["data"] == []
    assert woken == []


def test_an_estimate_counts_questions_tokens_and_money_of_a_model(api):
    plan = estimated(api, designer={"name": "openai", "model": "gpt-5-mini"}).json()
    assert plan["asks"] == 12
    assert 50_000 < plan["tokens"] < 200_000
    assert 0.02 < plan["money"] < 1.0


def test_more_rounds_cost_more_than_their_share_because_prompts_grow(api):
    model = {"name": "openai", "model": "gpt-5-mini"}
    one = estimated(api, designer=model, iterations=1).json()["tokens"]
    assert estimated(api, designer=model, iterations=3).json()["tokens"] > 3 * one


def test_an_unknown_price_is_said_and_not_guessed(api):
    plan = estimated(api, designer={"name": "openai", "model": "home-made"}).json()
    assert plan["money"] is None
    assert any("'home-made'" in note for note in plan["notes"])


def test_an_estimate_refuses_what_a_submission_refuses(api):
    answer = estimated(api, iterations=0)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/iterations")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/estimate"])
def test_a_budget_of_money_for_a_model_without_a_price_is_refused(api, path):
    body = {
        **CARTPOLE,
        "designer": {"name": "openai", "model": "home-made"},
        "budget": {"money": 1.0},
    }
    answer = api.post(path, json=body)
    assert answer.status_code == 422
    assert "REWARDSMITH_PRICES" in answer.json()["hint"]
    priced = {**body, "designer": {"name": "openai", "model": "gpt-5-mini"}}
    assert api.post(path, json=priced).status_code < 300


# --- arms -------------------------------------------------------------------------------------

OPENAI = {"name": "openai", "model": "gpt-5-mini"}
ARMS = [{"name": "small"}, {"name": "large", "model": "gpt-5", "leaning": "Be brief."}]


def test_arms_are_echoed_with_their_defaults_and_can_be_posted_again(api):
    spec = create(api, {**CARTPOLE, "designer": OPENAI, "arms": ARMS}).json()["spec"]
    assert spec["arms"] == [
        {"name": "small", "model": None, "temperature": None, "leaning": "", "feedback": "full"},
        {**ARMS[1], "temperature": None, "feedback": "full"},
    ]
    assert create(api, spec).json()["spec"] == spec
    assert create(api).json()["spec"]["arms"] == []


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        pytest.param({"arms": ARMS[:1]}, "/arms", "one arm", id="one arm"),
        pytest.param(
            {"arms": [*ARMS, ARMS[0]]}, "/arms/2/name", "'small' a second time", id="twice"
        ),
        pytest.param(
            {"arms": ARMS, "designer": {"name": "evolution"}},
            "/arms",
            "asks no model",
            id="no model",
        ),
        pytest.param(
            {"arms": ARMS, "designer": {"name": "replay", "recording": "r"}},
            "/arms",
            "asks no model",
            id="a recording",
        ),
        pytest.param({"arms": [{"name": "A B"}, *ARMS]}, "/arms/0/name", "", id="no name"),
        pytest.param(
            {"arms": [{"name": "hot", "temperature": 3.0}, *ARMS]},
            "/arms/0/temperature",
            "",
            id="too hot",
        ),
    ],
)
def test_arms_that_cannot_compete_are_refused(api, body, pointer, words):
    answer = create(api, {**CARTPOLE, "designer": OPENAI, **body})
    problem = answer.json()
    assert answer.status_code == 422
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["detail"]


def test_the_price_of_every_arms_model_has_to_be_known_where_money_is_capped(api):
    arms = [ARMS[0], {"name": "own", "model": "home-made"}]
    body = {**CARTPOLE, "designer": OPENAI, "budget": {"money": 1.0}}
    answer = create(api, {**body, "arms": arms})
    assert answer.status_code == 422
    assert "'home-made'" in answer.json()["detail"]
    assert create(api, {**body, "arms": ARMS}).status_code == 202


def test_an_estimate_of_arms_is_that_of_the_dearest(api):
    alone = estimated(api, designer={**OPENAI, "model": "gpt-5"}).json()["money"]
    plan = estimated(api, designer=OPENAI, arms=ARMS).json()
    assert plan["money"] == pytest.approx(alone, rel=0.05)  # a leaning makes prompts longer
    assert any("dearest" in note for note in plan["notes"])


def test_a_job_without_arms_has_none_to_show(api):
    job_id = create(api).json()["id"]
    assert api.get(f"/v1/jobs/{job_id}/arms").json() == {"data": []}


def test_arms_of_a_new_job_have_even_chances(api):
    job_id = create(api, {**CARTPOLE, "designer": OPENAI, "arms": ARMS}).json()["id"]
    found = api.get(f"/v1/jobs/{job_id}/arms").json()["data"]
    assert [(arm["name"], arm["model"]) for arm in found] == [
        ("small", "gpt-5-mini"),
        ("large", "gpt-5"),
    ]
    assert {(arm["asked"], arm["mean"], arm["cost"]) for arm in found} == {(0, 0.5, 2.0)}


def test_a_budget_of_money_means_nothing_to_a_designer_that_asks_nobody(api):
    assert create(api, {**CARTPOLE, "budget": {"money": 1.0}}).status_code == 202


# --- profiles -------------------------------------------------------------------------------------


def test_a_profile_gives_the_numbers_that_the_request_leaves_out(api):
    spec = create(
        api, {**CARTPOLE, "profile": "lean", "candidates": 5, "training": {"seeds": 1}}
    ).json()["spec"]
    assert (spec["iterations"], spec["candidates"]) == (3, 5)
    assert (spec["training"]["seeds"], spec["training"]["rungs"][-1]) == (1, 1.0)
    assert len(spec["training"]["rungs"]) == 2
    assert spec["training"]["steps"] == 150_000  # a task's own
    assert spec["evaluation"]["confirm_seeds"] == 5


def test_a_profile_may_be_smaller_than_the_task_would_have_it(api):
    spec = create(api, {**CARTPOLE, "profile": "smoke"}).json()["spec"]
    assert spec["training"]["steps"] == 2_000


def test_an_unknown_profile_is_refused_with_those_that_are(api):
    answer = create(api, {**CARTPOLE, "profile": "huge"})
    assert answer.status_code == 422
    assert "lean" in answer.text


@pytest.mark.parametrize(
    ("learner", "words"),
    [
        ({"library": "rllib", "algorithm": "PPO"}, "sb3"),
        ({"library": "sb3", "algorithm": "PPO", "settings": {"policy": "x"}}, "a number"),
    ],
)
def test_a_learner_that_is_not_known_is_refused_at_the_door(api, learner, words):
    answer = create(api, {**CARTPOLE, "evaluation": {"transfer": learner}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/evaluation/transfer"
    assert words in answer.text


def test_a_learner_of_ones_own_counts_in_the_estimate(api):
    learner = {"library": "sb3", "algorithm": "PPO", "steps": 10_000}
    more = estimated(api, evaluation={"transfer": learner}).json()["env_steps"]
    assert more - estimated(api).json()["env_steps"] == 2 * 5 * 10_000
