"""Every way to fail is one problem with a hint, and every answer is sealed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.designers import DESIGNERS
from api.errors import problem_of_failure
from api.kinds import ERRORS, KINDS
from api.main import create_app
from core import designers, errors, steps
from core.settings import Settings
from core.storage import Store, open_store
from tests.shells import stories
from tests.shells.conftest import LOCAL_URL, ON_SQLITE
from workers import carrying


def house_errors() -> set[type]:
    members = inspect.getmembers(errors, inspect.isclass)
    return {cls for _, cls in members if issubclass(cls, errors.RewardsmithError)}


def test_every_error_of_the_house_has_a_status():
    assert set(ERRORS) == house_errors()


def test_every_kind_of_problem_has_its_own_name_and_a_hint():
    assert len({kind.code for kind in ERRORS.values()}) == len(ERRORS)
    assert all(kind.hint and kind.title for kind in KINDS.values())


def test_every_designer_is_described():
    assert set(DESIGNERS) == set(designers.DESIGNERS)


@ON_SQLITE
@pytest.mark.parametrize(
    ("method", "path", "status", "code", "words"),
    [
        pytest.param("GET", "/v2/jobs", 404, "wrong-api-version", "/v1", id="another version"),
        pytest.param("POST", "/v12/jobs", 404, "wrong-api-version", "/v1", id="a later version"),
        pytest.param("GET", "/v1/nothing", 404, "no-such-path", "/docs", id="an unknown path"),
        pytest.param("GET", "/v1/tasks/nope", 404, "not-found", "/v1/tasks", id="an unknown task"),
        pytest.param("DELETE", "/v1/jobs", 405, "method-not-allowed", "/docs", id="a wrong verb"),
        pytest.param("GET", "/problems/nope", 404, "not-found", "/problems", id="a wrong problem"),
    ],
)
def test_a_wrong_path_is_answered_with_the_right_one(api, method, path, status, code, words):
    answer = api.request(method, path)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in problem["hint"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["instance"] == path


@ON_SQLITE
@pytest.mark.parametrize(
    ("method", "path", "verbs"),
    [
        ("DELETE", "/v1/jobs", "GET, POST"),
        ("PUT", "/v1/jobs/job_x", "DELETE, GET, PATCH"),
        pytest.param("PUT", "/v1/jobs/estimate", "POST", id="found by fuzzing: spelt out"),
        ("GET", "/v1/jobs/job_x/cancel", "POST"),
    ],
)
def test_a_wrong_verb_is_answered_with_all_the_right_ones(api, method, path, verbs):
    answer = api.request(method, path)
    assert answer.headers["allow"] == verbs
    assert answer.json()["detail"] == f"expected {verbs}, but found {method}"


@pytest.mark.parametrize(
    ("reason", "advised"),
    [("environment_unusable", False), ("invalid_input", False), ("crash_loop", True)],
)
def test_a_stored_failure_that_tells_what_to_do_gets_no_other_advice(reason, advised):
    said = problem_of_failure(reason, "Install it. Then try again.", "/v1/jobs/job_x")
    assert said.detail == "Install it. Then try again."
    assert bool(said.hint) is advised


@ON_SQLITE
def test_every_problem_has_a_page(api):
    for kind in api.get("/problems").json()["data"]:
        assert api.get(f"/problems/{kind['code']}").json() == kind


@ON_SQLITE
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/tasks", "/healthz", "/openapi.json", "/nowhere"])
def test_no_answer_lets_a_browser_run_or_share_anything(api, path):
    headers = api.get(path, headers={"Origin": "http://evil.example"}).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "script-src" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


@ON_SQLITE
def test_the_documentation_page_has_its_style_and_nothing_from_elsewhere(api):
    answer = api.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"].startswith("text/html")
    assert re.search(r"style-src 'sha256-[^']+';", policy)
    assert "script" not in policy + answer.text.lower().split("<body>")[0]
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", answer.text)


@ON_SQLITE
def test_the_documentation_page_tells_of_every_operation_and_every_field(api):
    page, document = api.get("/docs").text, api.get("/openapi.json").json()
    for path, verbs in document["paths"].items():
        for operation in verbs.values():
            assert path in page
            assert f'id="{operation["operationId"]}"' in page
    for name in set(re.findall(r'href="#([^"]+)"', page)):
        assert f'id="{name}"' in page


@ON_SQLITE
@pytest.mark.parametrize("mine", ["abc-1", "x" * 65, "two words", "<b>"])
def test_a_request_may_bring_its_own_plain_id(api, mine):
    found = api.get("/healthz", headers={"X-Request-ID": mine}).headers["x-request-id"]
    assert (found == mine) == (mine == "abc-1")


@ON_SQLITE
def test_a_fault_is_a_problem_without_any_detail_of_the_inside(api, app, monkeypatch, caplog):
    def broken(*_, **__):
        raise KeyError("secret detail")

    monkeypatch.setattr(Store, "jobs", broken)
    answer = api.get("/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret detail" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["request_id"] in caplog.text


def test_a_database_without_tables_makes_everything_unready_and_says_what_to_do(
    tmp_path, unmigrated_url
):
    store = open_store(unmigrated_url)
    app = create_app(
        Settings(home=tmp_path, database_url=unmigrated_url), lambda *_: None, store, keyless=True
    )
    api = TestClient(app, base_url=LOCAL_URL, raise_server_exceptions=False)
    try:
        for path in ("/readyz", "/v1/jobs"):
            answer = api.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "storage-failed")
            assert "rewardsmith db upgrade" in answer.json()["hint"]
            assert answer.headers["retry-after"]
        assert api.get("/healthz").status_code == 200
        assert api.get("/v1/tasks").status_code == 200
    finally:
        store.close()


def test_a_migrated_database_makes_the_server_ready(api):
    assert api.get("/readyz").json()["status"] == "ready"


def test_a_database_that_cannot_be_reached_is_a_problem_too(tmp_path):
    url = "postgresql://nobody@127.0.0.1:1/none"
    store = open_store(url)
    app = create_app(
        Settings(home=tmp_path, database_url=url), lambda *_: None, store, keyless=True
    )
    answer = TestClient(app, base_url=LOCAL_URL, raise_server_exceptions=False).get("/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage-failed")
    assert "nobody" not in answer.text
    store.close()


@pytest.mark.parametrize("path", ["/readyz", "/v1/jobs", "/metrics", "/jobs"])
def test_strangers_are_not_told_where_the_database_is(tmp_path, path, caplog):
    url = "postgresql://nobody@127.0.0.1:1/none"
    store = open_store(url)
    app = create_app(Settings(home=tmp_path, database_url=url), lambda *_: None, store)
    api = TestClient(app, base_url="http://api.example", raise_server_exceptions=False)
    answer = api.get(path)
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text
    assert "127.0.0.1" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text
    store.close()


def test_stored_text_of_any_kind_is_answered(api, store):
    job_id = stories.a_new_job(store, name="ünï \u202e \u2028 <script>")
    assert api.get(f"/v1/jobs/{job_id}").status_code == 200


def test_every_reason_for_which_a_job_fails_is_a_kind_of_problem():
    texts = [Path(module.__file__).read_text() for module in (steps, carrying)]
    reasons = {reason for text in texts for reason in re.findall(r'\.fail\(\s*"(\w+)"', text)}
    assert reasons
    assert {reason.replace("_", "-") for reason in reasons} <= set(KINDS)
