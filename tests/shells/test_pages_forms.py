"""What people do on pages: forms that our own pages alone can send, with keys of their owners."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient

from api.callers import COOKIE
from api.dependencies import House
from api.schemas import JobRequest
from api.submission import complete
from core.methods import find_method
from core.prices import read_prices
from core.records.history import History
from core.storage import Caller
from core.storage.keyring import SCOPES
from tests.shells import stories
from tests.shells.conftest import LOCAL_URL, ON_SQLITE
from tests.shells.reading_pages import read

pytestmark = ON_SQLITE

OURS = {"Sec-Fetch-Site": "same-origin", "Origin": LOCAL_URL}
PARK = {"task": "cartpole-park", "designer": "evolution", "method": "smith"}


@pytest.fixture
def page(api):
    """A browser on one of our own pages."""
    api.headers.update(OURS)
    api.follow_redirects = False
    return api


# --- a new job --------------------------------------------------------------------------------


def test_a_form_makes_a_job_and_leads_to_it(page, store, woken):
    answer = page.post("/jobs", data={**PARK, "iterations": "2", "name": "parking"})
    assert answer.status_code == 303
    (job,) = store.jobs().items
    assert answer.headers["location"] == f"/jobs/{job.id}"
    assert (job.name, job.spec.iterations, job.spec.task.name) == ("parking", 2, "cartpole-park")
    assert woken == [job.id]


def test_a_form_that_is_sent_twice_makes_one_job_and_a_changed_one_another(page, store):
    once = {**PARK, "once": "abcdef0123456789"}
    assert {page.post("/jobs", data=once).headers["location"] for _ in range(2)} == {
        f"/jobs/{store.jobs().items[0].id}"
    }
    page.post("/jobs", data={**once, "seed": "1"})
    assert len(store.jobs().items) == 2


def test_a_form_that_cannot_be_accepted_is_shown_again_with_what_was_filled_in(page, store):
    answer = page.post("/jobs", data={**PARK, "iterations": "999", "description": "Park it."})
    assert answer.status_code == 422
    shown = read(answer)
    assert "/iterations" in shown.text
    assert shown.all("input", name="iterations", value="999")
    assert "Park it." in shown.text
    assert not store.jobs().items


def test_another_environment_and_more_options_can_be_named(page, store):
    form = {
        **PARK,
        "task": "other",
        "environment": "CartPole-v1",
        "description": "Stand still.",
        "more": '{"evaluation": {"ablate": true}, "training": {"envs": 4}}',
        "steps": "5000",
    }
    assert page.post("/jobs", data=form).status_code == 303
    (job,) = store.jobs().items
    assert job.spec.evaluation.ablate
    assert (job.spec.training.envs, job.spec.training.steps) == (4, 5000)


@pytest.mark.parametrize("more", ["{", "[]", '{"training": 3}', '{"nonsense": 1}'])
def test_options_that_are_no_request_are_refused_in_words(page, store, more):
    answer = page.post("/jobs", data={**PARK, "more": more})
    assert answer.status_code == 422
    assert read(answer).all("div", role="alert")
    assert not store.jobs().items


def test_a_preview_tells_cost_prompt_guard_and_copies_and_stores_nothing(page, store):
    form = {**PARK, "designer": "openai", "model": "gpt-5-mini", "iterations": "2"}
    shown = read(page.post("/jobs/new/preview", data=form))
    assert "What it may cost at most" in shown.text
    assert "The leak guard found no field of the metric" in shown.text
    assert "def reward(obs, action, next_obs, params)" in shown.text
    assert "rewardsmith design cartpole-park" in shown.text
    assert "--iterations 2" in shown.text
    assert "curl -X POST http://127.0.0.1:8700/v1/jobs" in shown.text
    assert "Client('http://127.0.0.1:8700').jobs.create(" in shown.text
    assert not store.jobs().items


def test_a_preview_for_a_script_is_the_part_alone(page):
    answer = page.post("/jobs/new/preview", data=PARK, headers={"HX-Request": "true"})
    assert not read(answer).all("h1")
    assert "asks no model" in read(answer).text


def test_the_preview_is_the_prompt_that_would_be_sent(page):
    """It is rendered by the job's own method, not written down a second time."""
    spec = complete(JobRequest(task="cartpole-park", method="eureka"))
    method = find_method("eureka")
    wanted = method.render(method.briefs(History(spec))[0]).messages
    shown = page.post("/jobs/new/preview", data={**PARK, "method": "eureka"})
    text = " ".join(read(shown).text.split())
    for _, message in wanted:
        assert " ".join(message.split())[:4_000] in text


def text_of(answer, name: str) -> str:
    """What stands in a field of several lines."""
    found = re.search(rf'<textarea name="{name}"[^>]*>(.*?)</textarea>', answer.text, re.DOTALL)
    return unescape(found[1])


def test_a_design_of_the_library_starts_a_job_for_a_task_outside_the_catalogue(page, store):
    parent = stories.a_finished_job(store)
    task = store.job(parent).spec.task
    (start,) = [link for link in read(page.get("/library")).links() if "library=" in link]
    form = page.get(start)
    assert read(form).all("input", name="task", value="other", checked="")
    sent = {**PARK, "task": "other", "library": parent, "more": text_of(form, "more")}
    answer = page.post("/jobs", data=sent)
    assert answer.status_code == 303, read(answer).text
    made = store.job(answer.headers["location"].removeprefix("/jobs/"))
    assert made.spec.task == task
    assert store.given(made.id)[0].origin == "library"


def test_an_environment_that_is_typed_goes_before_a_task_told_in_full(page, store):
    more = '{"task": {"environment": "CartPole-v1", "description": "Balance."}}'
    typed = {"task": "other", "environment": "Acrobot-v1", "description": "Swing up."}
    page.post("/jobs", data={**typed, "more": more})
    assert store.jobs().items[0].spec.task.environment == "Acrobot-v1"


def test_an_address_with_an_environment_opens_the_form_with_it(page):
    shown = read(page.get("/jobs/new?task=Acrobot-v1"))
    assert shown.all("input", name="environment", value="Acrobot-v1")
    assert shown.all("input", name="task", value="other", checked="")


# --- actions ----------------------------------------------------------------------------------


def test_a_job_is_paused_resumed_and_cancelled(page, store):
    job_id = stories.a_new_job(store)
    for verb, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        answer = page.post(f"/jobs/{job_id}/{verb}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{job_id}")
        assert store.job(job_id).status == status


def test_a_finished_job_is_extended_forked_and_deleted(page, store):
    job_id = stories.a_finished_job(store)
    forked = page.post(f"/jobs/{job_id}/fork", data={"candidate": "0.0"}).headers["location"]
    assert store.given(forked.removeprefix("/jobs/"))[0].origin == "fork"
    page.post(f"/jobs/{job_id}/extend", data={"iterations": "2"})
    assert store.job(job_id).spec.iterations == 4
    page.post(f"/jobs/{job_id}/cancel")
    assert page.post(f"/jobs/{job_id}/delete").headers["location"] == "/jobs"
    assert page.get(f"/jobs/{job_id}").status_code == 404


def test_a_failed_job_is_tried_again(page, store):
    job_id = stories.a_failed_job(store)
    assert page.post(f"/jobs/{job_id}/retry").status_code == 303
    assert store.job(job_id).status == "queued"


def imported(page, store, job_id: str) -> str:
    """The same job, exported and taken in again."""
    text = page.get(f"/v1/jobs/{job_id}/export").text
    as_lines = {"Content-Type": "application/jsonl"}
    made = page.post("/v1/jobs/import", content=text, headers=as_lines).json()["id"]
    with stories.step(store, made, "import") as claim:
        claim.take_in()
    return made


def a_barren_job(store) -> str:
    """A job that failed because none of its candidates could be used."""
    job_id = stories.a_new_job(store)
    with stories.step(store, job_id, "propose/0") as claim:
        claim.fail("no_valid_candidate", "None of 4 candidates could be used.")
    return job_id


def offered(page, job_id: str) -> set[str]:
    """The ways to go on for which a job's page has a form."""
    links = read(page.get(f"/jobs/{job_id}")).links()
    return {verb for verb in ("retry", "extend", "fork") if f"/jobs/{job_id}/{verb}" in links}


@pytest.mark.parametrize(
    ("story", "ways", "elsewhere"),
    [
        pytest.param(stories.a_finished_job, {"extend", "fork"}, {"fork"}, id="succeeded"),
        pytest.param(stories.a_failed_job, {"retry"}, set(), id="failed"),
        pytest.param(a_barren_job, {"extend"}, set(), id="no valid candidate"),
    ],
)
def test_a_page_offers_the_ways_to_go_on_that_are_open_and_no_others(
    page, store, story, ways, elsewhere
):
    job_id = story(store)
    assert offered(page, imported(page, store, job_id)) == elsewhere
    assert offered(page, job_id) == ways
    for verb in sorted(ways, reverse=True):  # a fork first: it needs the job as it is
        assert page.post(f"/jobs/{job_id}/{verb}").status_code == 303, verb


def test_people_say_what_they_think(page, store):
    job_id = stories.a_finished_job(store)
    page.post(f"/jobs/{job_id}/feedback", data={"kind": "text", "text": "It\r\njumps."})
    (said,) = store.remarks(job_id)
    assert (said.kind, said.text) == ("text", "It\njumps.")
    page.post(f"/jobs/{job_id}/feedback", data={"kind": "thumb", "candidate": "0.0", "value": "1"})
    assert store.remarks(job_id)[1].value == 1
    shown = read(page.get(f"/jobs/{job_id}")).text
    assert "It jumps." in shown
    assert "thumb up about 0.0" in shown


@pytest.mark.parametrize(
    ("verb", "form", "status"),
    [
        ("resume", {}, 409),
        ("extend", {"iterations": "many"}, 422),
        ("extend", {"iterations": "99"}, 422),
        ("fork", {"candidate": "7.7"}, 404),
        ("feedback", {"kind": "thumb"}, 422),
        ("dance", {}, 422),
    ],
)
def test_what_cannot_be_done_is_told_as_a_page(page, store, verb, form, status):
    answer = page.post(f"/jobs/{stories.a_finished_job(store)}/{verb}", data=form)
    assert answer.status_code == status
    assert read(answer).all("div", role="alert")


# --- forms from elsewhere ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="a browser that says nothing"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="another site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="another port of this machine"),
        pytest.param({"Sec-Fetch-Site": "none"}, id="an address that was typed"),
        pytest.param({"Origin": "https://evil.example"}, id="an old browser elsewhere"),
        pytest.param({"Origin": "http://127.0.0.1:9999"}, id="an old browser on another port"),
        pytest.param({"Origin": "null"}, id="a page without an origin"),
    ],
)
@pytest.mark.parametrize("path", ["/jobs", "/jobs/{job}/cancel", "/jobs/new/preview", "/signout"])
def test_a_form_that_no_page_of_ours_sent_changes_nothing(api, store, headers, path):
    job_id = stories.a_new_job(store)
    answer = api.post(path.format(job=job_id), data=PARK, headers=headers, follow_redirects=False)
    assert answer.status_code == 403
    assert store.job(job_id).status == "queued"
    assert len(store.jobs().items) == 1


# --- keys -------------------------------------------------------------------------------------


@pytest.fixture
def browser(built, settings, store):
    """Make a browser of an owner, where keys are asked for."""
    built.state.house = House(settings, store, lambda *_: None, read_prices())

    def make(owner: str | None, *scopes: str) -> TestClient:
        client = TestClient(
            built,
            base_url="http://pages.example",
            raise_server_exceptions=False,
            follow_redirects=False,
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        if owner is not None:
            _, key = store.keys.create(owner, scopes=scopes or SCOPES)
            assert client.post("/signin", data={"key": key}).status_code == 303
        return client

    return make


PATHS = (
    "/jobs",
    "/jobs/new",
    "/library",
    "/tasks",
    "/workers",
    "/jobs/{job}",
    "/jobs/{job}/cost",
    "/jobs/{job}/feed",
    "/jobs/{job}/iterations/0",
    "/candidates/{candidate}",
)


def test_who_is_not_known_is_led_to_the_door_and_nothing_is_shown(browser, store):
    job_id = stories.a_finished_job(store)
    stranger = browser(None)
    names = {"job": job_id, "candidate": f"cand_{job_id[4:]}_0_0"}
    for path in (path.format(**names) for path in PATHS):
        answer = stranger.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/signin?next=/"), path
    assert stranger.post("/jobs", data=PARK).headers["location"].startswith("/signin")


def next_of(answer) -> str:
    """Where the sign-in that an answer leads to will lead."""
    location = urlsplit(answer.headers["location"])
    assert location.path == "/signin"
    return parse_qs(location.query)["next"][0]


@pytest.mark.parametrize(
    "path",
    ["/compare?c=cand_a_0_0&c=cand_a_0_1", "/library?q=%C3%A9t%C3%A9+%26+stay", "/jobs"],
)
def test_signing_in_leads_to_the_very_address_that_was_asked_for(browser, store, path):
    stranger = browser(None)
    asked = stranger.get(path)
    assert next_of(asked) == path
    shown = read(stranger.get(asked.headers["location"]))
    _, key = store.keys.create("ada", scopes=SCOPES)
    fields = {"key": key, "next": shown.all("input", name="next")[0]["value"]}
    assert stranger.post("/signin", data=fields).headers["location"] == path


def test_an_address_too_long_to_be_carried_along_is_left_out(browser):
    assert next_of(browser(None).get("/library?q=" + "x" * 5_000)) == "/jobs"


@pytest.mark.parametrize(
    ("referer", "following"),
    [
        ("http://pages.example/jobs/job_x?show=all", "/jobs/job_x?show=all"),
        ("http://evil.example/jobs/job_x", "/jobs"),
        ("http://[", "/jobs"),
        (None, "/jobs"),
    ],
)
def test_after_a_form_signing_in_leads_to_the_page_that_it_was_sent_from(
    browser, referer, following
):
    headers = {} if referer is None else {"Referer": referer}
    answer = browser(None).post("/jobs/job_x/feedback", data={"text": "hm"}, headers=headers)
    assert next_of(answer) == following


def test_the_address_of_a_preview_leads_to_the_form(api):
    answer = api.get("/jobs/new/preview", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs/new")


def test_a_key_is_kept_where_no_script_and_no_other_site_gets_it(browser, store):
    _, key = store.keys.create("ada", scopes=SCOPES)
    answer = browser(None).post("/signin", data={"key": key, "next": "/tasks"})
    assert answer.headers["location"] == "/tasks"
    kept = answer.headers["set-cookie"].lower()
    assert "httponly" in kept
    assert "samesite=strict" in kept


def test_a_wrong_key_opens_nothing_and_is_told(browser):
    answer = browser(None).post("/signin", data={"key": "rws_wrong.key"})
    assert answer.status_code == 401
    assert COOKIE not in answer.headers.get("set-cookie", "")
    assert "unknown" in read(answer).text


def test_signing_in_leads_nowhere_else(browser, store):
    _, key = store.keys.create("ada", scopes=SCOPES)
    for path in ("//evil.example", "https://evil.example", "/\\evil.example", "\nx"):
        answer = browser(None).post("/signin", data={"key": key, "next": path})
        assert answer.headers["location"] == "/"


def test_each_sees_their_own_jobs_alone(browser, store):
    ada, bob = browser("ada"), browser("bob")
    made = ada.post("/jobs", data=PARK).headers["location"]
    assert ada.get(made).status_code == 200
    job_id = made.removeprefix("/jobs/")
    for path in ("/jobs/{job}", "/jobs/{job}/cost", "/jobs/{job}/feed", "/jobs/{job}/iterations/0"):
        assert bob.get(path.format(job=job_id)).status_code == 404, path
    for verb in ("cancel", "pause", "resume", "retry", "extend", "fork", "feedback", "delete"):
        form = {"kind": "text", "text": "hm"}
        assert bob.post(f"/jobs/{job_id}/{verb}", data=form).status_code == 404, verb
    assert job_id not in bob.get("/jobs").text + bob.get("/workers").text + bob.get("/library").text
    assert job_id in ada.get("/jobs").text


def test_a_candidate_of_somebody_else_is_not_there(browser, store):
    job_id = stories.a_finished_job(store.of(Caller("ada")))
    assert browser("bob").get(f"/candidates/cand_{job_id[4:]}_0_0").status_code == 404


def test_a_key_that_may_only_read_changes_nothing(browser, store):
    reader = browser("ada", "jobs:read")
    assert reader.get("/jobs").status_code == 200
    assert reader.post("/jobs", data=PARK).status_code == 403


def test_the_cookie_reads_files_of_the_api_and_changes_nothing_there(browser, store):
    ada = browser("ada")
    assert ada.get("/v1/jobs").status_code == 200
    assert ada.post("/v1/jobs", json={"task": "cartpole-park"}).status_code == 401


def test_signing_out_closes_the_door(browser):
    ada = browser("ada")
    assert ada.post("/signout").headers["location"] == "/signin"
    assert ada.get("/jobs").status_code == 303
