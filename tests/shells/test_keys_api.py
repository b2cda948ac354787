"""The locked door: who has no key, the wrong key, or somebody else's jobs in mind."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from api import dependencies
from api.dependencies import House
from api.rates import Rates
from core.prices import read_prices
from core.storage.keyring import SCOPES
from tests.builders import SOURCE
from tests.shells.conftest import LOCAL_URL, ON_SQLITE
from tests.shells.stories import a_failed_job, a_finished_job, a_job_in_training

JOB = {"task": "cartpole-park"}


@pytest.fixture
def locked(built, settings, store):
    """The same application as `api`, where others can reach it."""
    built.state.house = House(settings, store, lambda *_: None, read_prices())
    return built


@pytest.fixture
def visitor(locked, store):
    """Make a client that shows a key of its own for an owner."""

    def make(owner: str | None, *scopes: str, base_url: str = "http://api.example") -> TestClient:
        client = TestClient(locked, base_url=base_url, raise_server_exceptions=False)
        if owner is not None:
            _, key = store.keys.create(owner, scopes=scopes or SCOPES)
            client.headers["Authorization"] = f"Bearer {key}"
        return client

    return make


# --- keys -------------------------------------------------------------------------------------


@ON_SQLITE
@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="no key"),
        pytest.param("", id="an empty header"),
        pytest.param("Bearer", id="no key after the word"),
        pytest.param("Bearer nonsense", id="nonsense"),
        pytest.param("Basic YWxpY2U6eA==", id="a password"),
        pytest.param("Bearer rws_" + "0" * 16 + "." + "A" * 43, id="a guess"),
        pytest.param("Bearer " + "x" * 5_000, id="a long text"),
    ],
)
def test_who_has_no_key_is_told_how_to_get_one(visitor, header):
    client = visitor(None)
    headers = {} if header is None else {"Authorization": header}
    for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/tasks")):
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "no-valid-key")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "rewardsmith keys create" in answer.json()["hint"]


@ON_SQLITE
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/estimate", "/v1/jobs/job_x/feedback"])
@pytest.mark.parametrize("raw", [b"[" * 100_000, b"nope" * 10_000], ids=["deep nesting", "no JSON"])
def test_a_long_body_is_not_parsed_before_the_key_is_known(visitor, path, raw):
    headers = {"Content-Type": "application/json"}
    stranger = {**headers, "Authorization": "Bearer nonsense"}
    answer = visitor(None).post(path, content=raw, headers=stranger)
    assert (answer.status_code, answer.json()["code"]) == (401, "no-valid-key")
    answer = visitor("alice").post(path, content=raw, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed-body")


@ON_SQLITE
@pytest.mark.parametrize("raw", [b"[" * 6_000, b"nope", b'{"task": 3}'])
def test_a_job_that_cannot_be_read_is_refused_in_words_or_at_the_door(visitor, raw):
    headers = {"Content-Type": "application/json"}
    stranger = {**headers, "Authorization": "Bearer nonsense"}
    assert visitor(None).post("/v1/jobs", content=raw, headers=stranger).status_code == 401
    assert visitor("alice").post("/v1/jobs", content=raw, headers=headers).status_code == 422


@ON_SQLITE
@pytest.mark.parametrize(
    "body",
    [{"task": "nobody's"}, {"task": 3}, {"task": "cartpole", "notes": "x" * 9_000}],
    ids=["unknown", "no request", "long"],
)
def test_a_request_that_is_refused_for_its_body_is_counted_once(visitor, locked, settings, body):
    locked.state.house = replace_settings(locked, settings, requests_per_minute=1)
    alice = visitor("alice")
    assert alice.post("/v1/jobs", json=body).status_code == 422
    assert alice.post("/v1/jobs", json=body).status_code == 429


@ON_SQLITE
def test_a_revoked_key_opens_nothing_from_the_next_request_on(visitor, store):
    client = visitor("alice")
    assert client.get("/v1/jobs").status_code == 200
    store.keys.revoke(store.keys.list()[0].id)
    assert client.get("/v1/jobs").status_code == 401


@ON_SQLITE
def test_health_and_documentation_need_no_key(visitor):
    client = visitor(None)
    for path in ("/healthz", "/readyz", "/problems", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200


@ON_SQLITE
def test_a_key_is_good_for_its_scopes_alone(visitor, store):
    job_id = a_job_in_training(store.of(dependencies.Caller("alice")))
    reads, writes = visitor("alice", "jobs:read"), visitor("alice", "jobs:read", "jobs:write")
    assert reads.get(f"/v1/jobs/{job_id}").status_code == 200
    refused = reads.post("/v1/jobs", json=JOB)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope-missing")
    assert "jobs:write" in refused.json()["detail"]
    assert writes.post("/v1/jobs", json=JOB).status_code == 202


@ON_SQLITE
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs", {**JOB, "start": [{"source": SOURCE}]}),
        ("/v1/jobs/{job}/candidates", {"source": SOURCE}),
        ("/v1/jobs/{job}/extend", {"iterations": 1, "start": [{"source": SOURCE}]}),
    ],
)
def test_code_of_ones_own_needs_a_scope_of_its_own(visitor, store, path, body):
    job_id = a_job_in_training(store.of(dependencies.Caller("alice")))
    path = path.replace("{job}", job_id)
    refused = visitor("alice", "jobs:read", "jobs:write").post(path, json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope-missing")
    assert "code:submit" in refused.json()["hint"]
    assert visitor("alice").post(path, json=body).status_code in (202, 422)


@ON_SQLITE
def test_who_did_what_is_written_down_with_key_and_request(visitor, store):
    client = visitor("alice")
    answer = client.post("/v1/jobs", json=JOB, headers={"X-Request-ID": "mine-1"})
    (entry,) = store.keys.audit(subject=answer.json()["id"])
    assert (entry.owner, entry.action, entry.request_id) == ("alice", "jobs.create", "mine-1")
    assert entry.key_id == store.keys.list()[0].id


# --- owners -----------------------------------------------------------------------------------


def names_of(job_id: str) -> dict[str, str]:
    body = job_id.removeprefix("job_")
    return {
        "job_id": job_id,
        "candidate_id": f"cand_{body}_0_0",
        "run_id": f"run_{body}_search_0-0_0_0",
        "number": "0",
    }


BODIES = {
    "add_feedback": {"kind": "text", "text": "mine now"},
    "give_program": {"source": SOURCE},
    "extend_job": {"iterations": 1},
    "fork_job": {},
    "describe_job": {"name": "mine now"},
}


NAMED_OTHERWISE = {
    "{name}",
    "{sha256}",
}  # nobody's tasks; files, which test_looking_api.py asks for


def operations_on_a_job(document):
    for path, verbs in document["paths"].items():
        if path.startswith("/v1/") and "{" in path and not NAMED_OTHERWISE & set(path.split("/")):
            for verb, operation in verbs.items():
                yield verb.upper(), path, operation["operationId"]


QUERIES = {"diff_candidate": "?against={candidate_id}"}  # the first candidate has no parent


def ask(client, verb, path, operation, names):
    body = BODIES.get(operation)
    path = (path + QUERIES.get(operation, "")).format(**names)
    return client.request(verb, path, **({} if body is None else {"json": body}))


def test_a_stranger_gets_404_for_every_operation_on_somebody_elses_job(visitor, store, locked):
    """The oracle of tenancy: with the owner's key all of these are there, with another none is."""
    alice, mallory = visitor("alice"), visitor("mallory")
    job_id = a_finished_job(store.of(dependencies.Caller("alice")))
    before = alice.get(f"/v1/jobs/{job_id}").json()
    asked = list(operations_on_a_job(locked.openapi()))
    assert len(asked) >= 20
    for verb, path, operation in asked:
        answer = ask(mallory, verb, path, operation, names_of(job_id))
        assert answer.status_code == 404, (operation, answer.text)
        never = ask(mallory, verb, path, operation, names_of("job_" + "0" * 26))
        ignore = ("instance", "request_id")
        told, nothing = (
            {k: v for k, v in a.json().items() if k not in ignore} for a in (answer, never)
        )
        plain = json.dumps(told).replace(job_id[4:], "0" * 26)
        assert plain == json.dumps(nothing), f"{operation} tells that there is something"
    assert alice.get(f"/v1/jobs/{job_id}").json() == before
    for verb, path, operation in asked:
        if verb == "GET":
            assert ask(alice, verb, path, operation, names_of(job_id)).status_code == 200, operation


def test_no_list_shows_a_stranger_anything(visitor, store):
    job_id = a_finished_job(store.of(dependencies.Caller("alice")))
    alice, mallory = visitor("alice"), visitor("mallory")
    for path in ("/v1/jobs", "/v1/library", "/v1/library?q=point", "/v1/datasets/designer.jsonl"):
        assert job_id[4:] in alice.get(path).text, path
        assert job_id[4:] not in mallory.get(path).text, path


def test_nobody_starts_from_somebody_elses_design(visitor, store):
    job_id = a_finished_job(store.of(dependencies.Caller("alice")))
    body = {**JOB, "start": [{"library": job_id}]}
    refused = visitor("mallory").post("/v1/jobs", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (
        422,
        "/start/0/library",
    )
    assert "There is no job" in refused.json()["detail"]


def test_two_owners_may_choose_the_same_idempotency_key(visitor):
    keyed = {"Idempotency-Key": "same"}
    answers = [
        visitor(owner).post("/v1/jobs", json=JOB, headers=keyed) for owner in ("alice", "mallory")
    ]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 2


# --- limits -----------------------------------------------------------------------------------


@ON_SQLITE
def test_too_many_requests_are_told_when_to_come_back(visitor, locked, settings):
    locked.state.house = replace_settings(locked, settings, requests_per_minute=3)
    alice, mallory = visitor("alice"), visitor("mallory")
    answers = [alice.get("/v1/tasks") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    assert answers[-1].json()["code"] == "too-many-requests"
    assert mallory.get("/v1/tasks").status_code == 200, "each key has its own measure"


@ON_SQLITE
def test_guessing_keys_is_slowed_down_without_asking_the_database(visitor, locked, monkeypatch):
    locked.state.house.lock = replace(locked.state.house.lock, wrong=Rates(2))
    guess = {"Authorization": "Bearer rws_" + "0" * 16 + "." + "A" * 43}
    client = visitor(None)
    assert [client.get("/v1/jobs", headers=guess).status_code for _ in range(2)] == [401, 401]
    monkeypatch.setattr("core.storage.keyring.Keyring.find", lambda *_: pytest.fail("was asked"))
    assert client.get("/v1/jobs", headers=guess).status_code == 429


@ON_SQLITE
def test_wrong_keys_of_one_visitor_lock_nobody_out_behind_the_same_address(visitor, locked):
    locked.state.house.lock = replace(locked.state.house.lock, wrong=Rates(2))
    wrong = ["rws_" + "0" * 16 + "." + "A" * 43, "no key at all"]
    stranger, alice = visitor(None), visitor("alice")
    for guess in wrong:
        headers = {"Authorization": f"Bearer {guess}"}
        answers = [stranger.get("/v1/jobs", headers=headers).status_code for _ in range(3)]
        assert answers == [401, 401, 429]
    assert alice.get("/v1/jobs").status_code == 200


@ON_SQLITE
def test_an_owner_may_have_so_many_unfinished_jobs(visitor, locked, settings):
    locked.state.house = replace_settings(locked, settings, jobs_per_owner=1)
    alice = visitor("alice")
    assert alice.post("/v1/jobs", json=JOB).status_code == 202
    refused = alice.post("/v1/jobs", json=JOB)
    assert (refused.status_code, refused.json()["code"]) == (429, "limit-reached")
    assert refused.headers["retry-after"]
    assert visitor("mallory").post("/v1/jobs", json=JOB).status_code == 202


@ON_SQLITE
@pytest.mark.parametrize(
    ("ended", "verb", "body"),
    [(a_failed_job, "retry", None), (a_finished_job, "extend", {"iterations": 1})],
)
def test_a_job_that_goes_on_is_one_of_those_that_an_owner_may_have(
    visitor, locked, settings, store, ended, verb, body
):
    locked.state.house = replace_settings(locked, settings, jobs_per_owner=1)
    alice = visitor("alice")
    job_id = ended(store.of(dependencies.Caller("alice")))
    other = alice.post("/v1/jobs", json=JOB).json()["id"]
    refused = alice.post(f"/v1/jobs/{job_id}/{verb}", json=body)
    assert (refused.status_code, refused.json()["code"]) == (429, "limit-reached")
    alice.post(f"/v1/jobs/{other}/cancel")
    assert alice.post(f"/v1/jobs/{job_id}/{verb}", json=body).status_code == 202


@ON_SQLITE
def test_an_owner_may_have_so_many_open_streams(visitor, locked, settings, store):
    job_id = a_job_in_training(store.of(dependencies.Caller("alice")))
    locked.state.house = replace_settings(locked, settings, streams_per_owner=1)
    locked.state.house.streams["alice"] = 1
    refused = visitor("alice").get(
        f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}
    )
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert visitor("alice").get(f"/v1/jobs/{job_id}/events").status_code == 200, "a list is none"


@ON_SQLITE
def test_a_stream_that_has_ended_is_not_counted_any_more(visitor, locked, store):
    job_id = a_finished_job(store.of(dependencies.Caller("alice")))
    answer = visitor("alice").get(
        f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}
    )
    assert "event: end" in answer.text
    assert not locked.state.house.streams


@ON_SQLITE
def test_a_stream_that_has_grown_old_is_cut_so_that_the_key_is_shown_again(
    visitor, store, monkeypatch
):
    monkeypatch.setattr("api.events.LONGEST_SECONDS", 0.2)
    job_id = a_job_in_training(store.of(dependencies.Caller("alice")))
    answer = visitor("alice").get(
        f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}
    )
    assert "event: job.started" in answer.text
    assert "event: end" not in answer.text


def replace_settings(app, settings, **changes):
    house = app.state.house
    return House(settings.model_copy(update=changes), house.store, house.notify, house.prices)


def test_a_bucket_fills_again_at_its_rate():
    now = [0.0]
    rates = Rates(60, lambda: now[0])
    assert [rates.take("a") for _ in range(60)] == [0.0] * 60
    assert rates.take("a") == pytest.approx(1.0)
    assert rates.empty("a") == pytest.approx(1.0)
    assert (rates.take("b"), rates.empty("b")) == (0.0, 0.0)
    now[0] = 1.0
    assert (rates.take("a"), rates.take("a")) == (0.0, pytest.approx(1.0))
    now[0] = 1e6
    assert [rates.take("a") for _ in range(61)][-1] > 0.0, "never more than a minute's worth"


def test_buckets_of_strangers_do_not_pile_up(monkeypatch):
    monkeypatch.setattr("api.rates.MOST_NAMES", 3)
    now = [0.0]
    rates = Rates(60, lambda: now[0])
    for name in "abc":
        rates.take(name)
    now[0] = 60.0
    rates.take("d")
    assert set(rates._buckets) == {"d"}


# --- without keys -----------------------------------------------------------------------------


@ON_SQLITE
@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8700", "http://localhost:9", "http://[::1]:8700", "http://a.localhost"],
)
def test_on_the_loopback_nobody_is_asked_for_a_key(app, url):
    client = TestClient(app, base_url=url)
    assert client.post("/v1/jobs", json=JOB, headers={"Origin": url}).status_code == 202


@ON_SQLITE
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Host": "evil.example"}, id="a name that was pointed at the loopback"),
        pytest.param({"Host": "127.0.0.1.evil.example"}, id="a name that begins like it"),
        pytest.param({"Host": "localhost.evil.example"}, id="another one"),
        pytest.param({"Host": "10.0.0.1"}, id="another address"),
        pytest.param({"Host": ""}, id="no name"),
        pytest.param({"Host": "[::1"}, id="half an address"),
        pytest.param({"Origin": "http://evil.example"}, id="a page from elsewhere"),
        pytest.param({"Origin": "null"}, id="a page from a file"),
        pytest.param({"Origin": "http://127.0.0.1:3000"}, id="another server of this machine"),
    ],
)
def test_a_browser_that_was_made_to_ask_is_sent_away(app, headers):
    client = TestClient(app, base_url=LOCAL_URL, raise_server_exceptions=False)
    for verb, path in (("POST", "/v1/jobs"), ("GET", "/v1/jobs")):
        answer = client.request(verb, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "not-local")


@ON_SQLITE
def test_what_was_made_without_a_key_belongs_to_local(api, store):
    job_id = api.post("/v1/jobs", json=JOB).json()["id"]
    assert store.of(dependencies.Caller("local")).job(job_id).id == job_id


@ON_SQLITE
def test_whose_rows_are_meant_is_the_keys_word_alone(locked):
    document = json.dumps(locked.openapi()["paths"])
    assert not re.search(r'"name": "[^"]*owner', document)


@ON_SQLITE
def test_no_request_names_an_address_for_the_server_to_visit_but_a_webhooks(locked):
    """Endpoints are settings, so that a user's address never gets the operator's key.

    What a webhook's address may be is held by tests/rim/test_webhooks.py; no key goes there.
    """
    schemas = locked.openapi()["components"]["schemas"]
    asked = [name for name in schemas if name.endswith(("Body", "Request"))]
    fields = {(name, field) for name in asked for field in schemas[name].get("properties", {})}
    assert ("JobRequest", "task") in fields
    words = re.compile(r"url|uri|host|endpoint|hook|callback|proxy")
    named = {(name, field) for name, field in fields if words.search(field)}
    assert named == {("JobRequest", "webhook"), ("WebhookBody", "url")}
