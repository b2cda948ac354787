"""What strangers send: refused in words, never with a fault, and never echoed raw."""

from __future__ import annotations

import json

import pytest

from api.limits import MAX_VALUES
from tests.shells.conftest import ON_SQLITE

pytestmark = ON_SQLITE

TASK = {"environment": "A-v0", "description": "Do it."}
FIELD = {"name": "x", "source": "obs[0]"}
JSON = {"Content-Type": "application/json"}


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"3", id="a number"),
        pytest.param(b"nope", id="no JSON"),
        pytest.param(b'{"task": "cartpole"', id="half an object"),
        pytest.param(b"\xff\xfe{}", id="another encoding"),
        pytest.param(b"[" * 200_000, id="deeper than the parser"),
        pytest.param(f'{{"task": {deep(900)}}}'.encode(), id="deep"),
        pytest.param(b'{"task": "cartpole", "seed": NaN}', id="NaN"),
        pytest.param(b'{"task": "cartpole", "weight": Infinity}', id="infinity"),
        pytest.param(b'{"task": "cartpole", "weight": -1e999}', id="an overflow"),
        pytest.param(b'{"task": "cartpole", "seed": ' + b"9" * 5_000 + b"}", id="a huge integer"),
        pytest.param(b'{"task": "cartpole", "seed": ' + b"9" * 40 + b"}", id="a large integer"),
        pytest.param(b'{"task": "\\ud800"}', id="a lone surrogate"),
        pytest.param(b'{"task": "cartpole", "\\udfff": 1}', id="a lone surrogate as a key"),
        pytest.param(b'{"task": "cartpole", "name": "a\\u0000b"}', id="a NUL"),
        pytest.param(b'{"task": "cartpole", "labels": {"a\\u0000": "b"}}', id="a NUL in a label"),
    ],
)
def test_a_body_that_is_no_request_is_refused_in_words(api, raw):
    answer = api.post("/v1/jobs", content=raw, headers=JSON)
    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"]
    assert problem["hint"]
    json.dumps(problem, allow_nan=False).encode()


def full(**changes):
    return {"task": {**TASK, **changes}}


def named(**changes):
    return {"task": "cartpole-park", **changes}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        pytest.param({}, "/task", id="no task"),
        pytest.param({"task": ""}, "/task", id="an empty task"),
        pytest.param({"task": 3}, "/task", id="a task that is a number"),
        pytest.param({"task": "cartpole-prak"}, "/task", id="a misspelt task"),
        pytest.param({"task": "Ant-v5"}, "/description", id="an environment without words"),
        pytest.param(named(description=" "), "/description", id="words of nothing"),
        pytest.param(named(description="x" * 20_001), "/description", id="too many words"),
        pytest.param(named(iteratons=3), "/iteratons", id="a misspelt field"),
        pytest.param(named(training={"step": 3}), "/training/step", id="a misspelt inner field"),
        pytest.param(full(array="torch"), "/task/array", id="torch from a grammar of NumPy"),
        pytest.param(full(fields=[{**FIELD, "lo": 1}]), "/task/fields/0/lo", id="deep inside"),
        pytest.param(named(method="smiht"), "/method", id="an unknown method"),
        pytest.param(named(designer={"name": "gpt"}), "/designer/name", id="an unknown designer"),
        pytest.param(
            named(designer={"name": "replay"}), "/designer/recording", id="replay of nothing"
        ),
        pytest.param(
            named(designer={"name": "replay", "recording": "../secret"}),
            "/designer/recording",
            id="a recording outside its folder",
        ),
        pytest.param(
            named(designer={"name": "openai", "base_url": "http://evil"}),
            "/designer/base_url",
            id="an endpoint of the user's choice",
        ),
        pytest.param(named(iterations=0), "/iterations", id="no iteration"),
        pytest.param(named(iterations=51), "/iterations", id="too many iterations"),
        pytest.param(named(candidates=33), "/candidates", id="too many candidates"),
        pytest.param(named(training={"steps": 0}), "/training/steps", id="no steps"),
        pytest.param(named(training={"steps": 50_000_001}), "/training/steps", id="endless steps"),
        pytest.param(
            named(training={"algorithm": "td4"}), "/training/algorithm", id="another algorithm"
        ),
        pytest.param(
            named(training={"warm_start": True}), "/training/warm_start", id="no replay to warm"
        ),
        pytest.param(
            named(training={"steps": 64, "rungs": [0.001, 1.0]}),
            "/training/rungs",
            id="a rung of no step",
        ),
        pytest.param(
            named(training={"steps": 20, "rungs": [0.5, 0.51, 1.0]}),
            "/training/rungs",
            id="two rungs that end after the same step",
        ),
        pytest.param(
            named(training={"steps": 50_000_000, "seeds": 20}, iterations=50, candidates=32),
            "/training/steps",
            id="a plan of centuries",
        ),
        pytest.param(named(training={"seeds": 21}), "/training/seeds", id="too many seeds"),
        pytest.param(named(training={"rungs": [0.5]}), "/training/rungs", id="an open ladder"),
        pytest.param(
            named(training={"rungs": [0.9, 0.1, 1.0]}), "/training/rungs", id="a ladder downwards"
        ),
        pytest.param(named(mode="sometimes"), "/mode", id="an unknown mode"),
        pytest.param(named(weight=0), "/weight", id="a weight of nothing"),
        pytest.param(named(seed=-1), "/seed", id="a negative seed"),
        pytest.param(named(seed=2**70), "/seed", id="a seed beyond every database"),
        pytest.param(named(seed=True), "/seed", id="a seed that is a truth value"),
        pytest.param(named(seed="7"), "/seed", id="a seed that is text"),
        pytest.param(named(budget={"env_steps": 0}), "/budget/env_steps", id="a budget of zero"),
        pytest.param(
            named(budget={"env_steps": 10}), "/budget/env_steps", id="a budget that buys nothing"
        ),
        pytest.param(
            named(budget={"seconds": 1e12}), "/budget/seconds", id="a budget of centuries"
        ),
        pytest.param(full(environment="rm -rf /"), "/task/environment", id="no environment id"),
        pytest.param(full(environment="os:"), "/task/environment", id="a module without an id"),
        pytest.param(full(description=""), "/task/description", id="a task without words"),
        pytest.param(full(env_kwargs={"a": 2**60}), "/task/env_kwargs/a", id="a huge argument"),
        pytest.param(
            full(env_kwargs={"a": [0] * 2_000}), "/task/env_kwargs", id="a heap of arguments"
        ),
        pytest.param(
            full(env_kwargs={"a": "x" * 65_536}), "/task/env_kwargs", id="an endless argument"
        ),
        pytest.param(
            full(training={"settings": {"a": [[]] * 2_000}}), "/task/training", id="a task of heaps"
        ),
        pytest.param(
            named(training={"settings": {"a": [{}] * 2_000}}),
            "/training/settings",
            id="a heap of settings",
        ),
        pytest.param(
            full(fields=[FIELD], fitness={"kind": "share", "where": "y > 1", "horizon": 5}),
            "/task/fitness",
            id="a fitness of an unknown field",
        ),
        pytest.param(
            full(fitness={"kind": "success", "where": "__import__('os')"}),
            "/task/fitness",
            id="a fitness that is code",
        ),
        pytest.param(
            full(fitness={"kind": "least", "parts": [{"kind": "return"}]}),
            "/task/fitness",
            id="the least of one",
        ),
        pytest.param(
            full(fitness={"kind": "least", "parts": [{"kind": "return"}] * 9}),
            "/task/fitness/parts",
            id="a fitness of too many parts",
        ),
        pytest.param(full(training={"steps": "all"}), "/task/training/steps", id="task's training"),
        pytest.param(named(labels={"k": "v" * 201}), "/labels/k", id="a long label"),
    ],
)
def test_a_wrong_request_is_told_where_and_why(api, woken, body, pointer):
    answer = api.post("/v1/jobs", json=body)
    problem = answer.json()
    assert answer.status_code == 422, problem
    assert pointer in [place["pointer"] for place in problem["errors"]]
    assert problem["hint"]
    assert woken == []


def test_a_misspelt_name_is_answered_with_the_near_one(api):
    assert "cartpole-park" in api.post("/v1/jobs", json={"task": "cartpole-prak"}).json()["hint"]
    assert "smith" in api.post("/v1/jobs", json=named(method="smiht")).json()["hint"]


@pytest.mark.parametrize(
    ("headers", "found"),
    [({"Content-Type": "text/plain"}, "text/plain"), ({}, "no such header")],
    ids=["another type", "no type"],
)
def test_a_body_that_is_not_announced_as_json_is_refused(api, headers, found):
    answer = api.post("/v1/jobs", content=b'{"task": "cartpole"}', headers=headers)
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]
    assert found in answer.json()["detail"]


def test_the_known_algorithms_are_named(api):
    detail = api.post("/v1/jobs", json=named(training={"algorithm": "td4"})).json()["detail"]
    assert "ppo, sac, dqn" in detail
    assert "td4" in detail


@pytest.mark.parametrize("algorithm", ["ppo", "sac", "dqn"])
def test_every_algorithm_is_taken_and_shown(api, algorithm):
    warm = algorithm != "ppo"
    training = {"algorithm": algorithm, "warm_start": warm}
    job = api.post("/v1/jobs", json=named(training=training)).json()
    assert job["spec"]["training"]["algorithm"] == algorithm
    assert job["spec"]["training"]["warm_start"] is warm


def test_another_algorithm_does_not_inherit_the_settings_of_the_task_s_own(api):
    tuned = {"task": "cartpole-park", "description": "Park."}
    same = api.post("/v1/jobs", json=tuned).json()["spec"]["training"]
    other = api.post("/v1/jobs", json={**tuned, "training": {"algorithm": "dqn"}})
    assert same["settings"]["gae_lambda"] == 0.98
    assert other.json()["spec"]["training"]["settings"] == {}
    assert other.json()["spec"]["training"]["steps"] == same["steps"]


def test_a_plan_of_centuries_is_accepted_within_a_budget(api):
    plan = named(training={"steps": 50_000_000, "seeds": 20}, iterations=50, candidates=32)
    assert api.post("/v1/jobs", json={**plan, "budget": {"env_steps": 10**11}}).status_code == 202
    detail = api.post("/v1/jobs", json=plan).json()["detail"]
    assert "at most 100,000,000,000 environment steps" in detail


def test_long_text_is_counted_in_characters(api):
    detail = api.post("/v1/jobs", json=named(description="x" * 20_001)).json()["detail"]
    assert "at most 20000 characters, but found 20001" in detail


def chunks(size: int):
    yield from (b" " * 65_536 for _ in range(size // 65_536 + 1))


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b" " * (1 << 20) + b"{}", id="announced"),
        pytest.param(chunks, id="in chunks"),
    ],
)
def test_a_body_over_a_mebibyte_is_refused(api, content, path):
    content = content(3 << 20) if callable(content) else content
    answer = api.post(path.rstrip("/"), content=content, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_a_body_just_below_the_limit_is_read(api):
    raw = json.dumps({"task": "cartpole-park"}).encode().ljust(1 << 20)
    assert api.post("/v1/jobs", content=raw, headers=JSON).status_code == 202


def test_more_values_than_any_request_has_are_refused_before_anything_is_made_of_them(api):
    many = {"a": [0] * MAX_VALUES}
    answer = api.post("/v1/jobs", json=full(env_kwargs=many))
    assert answer.status_code == 422
    assert f"at most {MAX_VALUES:,} values" in answer.json()["detail"]
    fewer = {"a": [0] * 1_000}
    assert api.post("/v1/jobs", json=full(env_kwargs=fewer)).status_code == 202
