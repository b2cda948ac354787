"""The pages: every state of a job is told in plain words, and nothing that others wrote is run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.records.kinds import NATIVE
from core.records.outcome import Interval
from core.records.people import Remark
from core.records.programs import Screen
from core.records.rounds import Feedback
from core.records.spec import DesignerChoice
from tests.builders import (
    a_preflight,
    a_program,
    a_run,
    a_task,
    an_outcome,
    proposed,
    rejected,
    trained,
)
from tests.shells import stories
from tests.shells.conftest import ON_SQLITE
from tests.shells.reading_pages import read

pytestmark = ON_SQLITE


def candidate_of(job_id, number, iteration=0):
    return f"cand_{job_id.removeprefix('job_')}_{iteration}_{number}"


def words_of(api, path):
    return read(api.get(path)).text


# --- every page -------------------------------------------------------------------------------


def test_the_root_leads_to_the_jobs(api):
    answer = api.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")


def test_every_page_is_sound_and_says_where_one_is(api, store):
    job_id = stories.a_finished_job(store)
    for path in (
        "/jobs",
        "/jobs/new",
        f"/jobs/{job_id}",
        f"/jobs/{job_id}/cost",
        f"/jobs/{job_id}/iterations/0",
        f"/candidates/{candidate_of(job_id, 0)}",
        f"/candidates/{candidate_of(job_id, 1)}",
        "/library",
        "/tasks",
        "/tasks/cartpole-park",
        "/workers",
    ):
        answer = api.get(path)
        assert answer.status_code == 200, path
        page = read(answer)
        assert page.all("html", lang="en")
        assert len(page.all("h1")) == 1, path
        assert page.all("a", href="#main"), path


def test_every_link_of_a_finished_job_leads_somewhere(api, store):
    job_id = stories.a_finished_job(store)
    seen, waiting = set(), [f"/jobs/{job_id}", f"/candidates/{candidate_of(job_id, 0)}"]
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for tag, attributes in read(api.get(path)).elements:
            link = attributes.get("href" if tag in ("a", "link") else "src", "").partition("#")[0]
            if link and link not in seen and not link.startswith("/jobs/new"):
                seen.add(link)
                assert api.get(link).status_code == 200, (path, link)


def test_what_is_not_there_is_told_as_a_page(api):
    answer = api.get("/jobs/job_nothing")
    assert answer.status_code == 404
    assert "There is nothing under that id" in read(answer).text


def test_a_page_is_packed_where_the_browser_can_unpack_it(api):
    packed = api.get("/tasks", headers={"Accept-Encoding": "gzip"})
    plain = api.get("/tasks", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text


def test_static_files_are_kept_by_their_content_and_nothing_else_is_served(api):
    (style,) = read(api.get("/jobs")).all("link", rel="stylesheet")
    answer = api.get(style["href"])
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/css")
    again = api.get(style["href"], headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    for path in ("/static/../main.py", "/static/%2e%2e/render.py", "/static/none.css"):
        assert api.get(path).status_code == 404


# --- jobs -------------------------------------------------------------------------------------


def test_an_empty_list_says_how_to_begin(api):
    page = read(api.get("/jobs"))
    assert "No jobs yet." in page.text
    assert page.all("a", href="/jobs/new")


def test_the_list_tells_of_each_job_what_one_wants_to_know(api, store):
    job_id = stories.a_finished_job(store)
    page = read(api.get("/jobs"))
    assert page.all("a", href=f"/jobs/{job_id}")
    for words in ("finished", "better", "0.8", "/ 0.2", "1 / 2", "2 candidates", "no model"):
        assert words in page.text, words
    assert page.all("svg", **{"class": "spark"})


def test_filters_stand_in_the_address(api, store):
    queued, _ = stories.a_new_job(store), stories.a_finished_job(store)
    page = read(api.get("/jobs?status=queued&task=point-park"))
    assert [a["href"] for a in page.all("a", **{"class": "title"})] == [f"/jobs/{queued}"]
    assert page.all("option", value="queued", selected="")
    assert page.all("input", name="task", value="point-park")
    assert "No job fits this filter." in words_of(api, "/jobs?task=nothing")


def test_older_jobs_are_one_link_away(api, store):
    made = [stories.a_new_job(store) for _ in range(26)]
    page = read(api.get("/jobs"))
    (more,) = [link for link in page.links() if "after=" in link]
    older = read(api.get(more))
    assert [a["href"] for a in older.all("a", **{"class": "title"})] == [f"/jobs/{made[0]}"]


# --- a job in every state ---------------------------------------------------------------------


def test_a_queued_job_says_what_it_waits_for(api, store):
    job_id = stories.a_new_job(store)
    text = words_of(api, f"/jobs/{job_id}")
    assert "Nothing has happened yet." in text
    assert "waiting: no worker runs; start one with `rewardsmith worker`" in text
    assert "waiting: no worker runs" in words_of(api, "/jobs")


def test_a_running_job_without_results_says_so(api, store):
    job_id = stories.a_new_job(store)
    with stories.step(store, job_id, "preflight") as claim:
        claim.add_preflight(a_preflight())
    text = words_of(api, f"/jobs/{job_id}")
    assert "Nothing is measured yet." in text
    assert "Dots appear here" in text
    assert "No candidate has been proposed yet." in text


def test_a_running_job_shows_what_is_being_done(api, store):
    job_id = stories.a_job_in_training(store)
    with stories.while_training(store, job_id):
        page = read(api.get(f"/jobs/{job_id}"))
        assert page.all("progress", value="600", max="2000")
        assert "training" in page.text
        assert page.all("meta", **{"http-equiv": "refresh"}), "without a script it is loaded again"
        assert "600" in words_of(api, "/workers") or read(api.get("/workers")).all("progress")


@pytest.mark.parametrize("story", [stories.a_job_that_awaits_feedback, stories.a_blocked_job])
def test_a_page_that_waits_for_people_is_not_loaded_again_under_their_hands(api, store, story):
    job_id = story(store)
    page = read(api.get(f"/jobs/{job_id}"))
    assert not page.all("meta", **{"http-equiv": "refresh"})
    assert page.all("a", href=f"/jobs/{job_id}")
    assert "Load again" in page.text


def test_a_job_whose_candidates_were_all_rejected_tells_the_first_reason(api, store):
    job_id = stories.a_new_job(store)
    with stories.step(store, job_id, "propose/0") as claim:
        claim.add_candidate(rejected(0, "line 3: expected a dict, but found a float"))
        claim.add_candidate(rejected(1, "no code"))
    text = words_of(api, f"/jobs/{job_id}")
    assert "All 2 candidates so far were rejected." in text
    assert "The first, 0.0: line 3: expected a dict" in text


def test_a_better_design_is_told_with_its_evidence(api, store):
    job_id = stories.a_finished_job(store)
    page = read(api.get(f"/jobs/{job_id}"))
    assert "The designed reward is better than the native one." in page.text
    assert "No language model was asked" in page.text
    assert page.all("a", href=f"/v1/jobs/{job_id}/best/reward.py")
    assert page.all("circle", **{"class": "dot c0"})
    assert "`near` is all of the reward." not in page.text, "the long text has a page of its own"
    assert "one term" in page.text


def test_a_design_that_is_worse_than_the_native_reward_is_called_that(api, store):
    worse = replace(
        an_outcome(),
        verdict="worse",
        native=Interval(0.9, 0.8, 1.0, 3),
        sentence="The native reward was better: 0.9 against 0.83.",
    )
    job_id = stories.a_finished_job(store, worse)
    assert "The native reward was better." in words_of(api, f"/jobs/{job_id}")
    assert "worse" in words_of(api, "/jobs")


def test_a_failed_job_says_why_and_what_to_do(api, store):
    job_id = stories.a_failed_job(store)
    page = read(api.get(f"/jobs/{job_id}"))
    assert "The job failed" in page.text
    assert "CartPol-v1: no such environment. Check the id." in page.text
    assert page.all("form", action=f"/jobs/{job_id}/retry")


def test_a_job_whose_designer_is_down_says_what_has_to_be_mended(api, store):
    job_id = stories.a_blocked_job(store)
    page = read(api.get(f"/jobs/{job_id}"))
    assert "Paused, because something has to be mended first." in page.text
    assert "The key was refused." in page.text
    assert page.all("form", action=f"/jobs/{job_id}/resume")


def test_a_step_that_rests_says_why(api, store):
    job_id = stories.a_job_in_training(store)
    with stories.step(store, job_id, "reflect/0") as claim:
        claim.wait(60.0, "The endpoint asks for patience.")
    assert "waiting: The endpoint asks for patience." in words_of(api, f"/jobs/{job_id}")
    assert "waiting: The endpoint asks for patience." in words_of(api, "/jobs")


def test_a_lost_worker_is_told_where_people_look(api, store):
    job_id = stories.a_job_in_training(store)
    assert store.claim(job_id, "train/0/0/0", "first", 0.0) is not None
    assert store.claim(job_id, "train/0/0/0", "second", 30.0) is not None
    page = read(api.get(f"/jobs/{job_id}"))
    assert "The worker on step train/0/0/0 vanished; another one took it over." in page.text


def test_a_cancelled_job_keeps_what_it_has(api, store):
    job_id = stories.a_job_in_training(store)
    store.request_cancel(job_id)
    store.settle(job_id)
    text = words_of(api, f"/jobs/{job_id}")
    assert "Cancelled." in text
    assert "2 candidates: 0 trained, 1 rejected" in text


def test_a_job_that_awaits_feedback_asks_for_it_first(api, store):
    job_id = stories.a_job_that_awaits_feedback(store)
    page = read(api.get(f"/jobs/{job_id}"))
    assert "The job waits for you." in page.text
    assert page.text.index("What do you think of these candidates?") < page.text.index("Lineage")
    assert page.all("button", name="value", value="1")
    assert not page.all("video")


def test_the_films_to_judge_stand_beside_the_form(api, store):
    job_id = stories.a_job_that_awaits_feedback(store, video="a" * 64)
    page = read(api.get(f"/jobs/{job_id}"))
    videos = [video["aria-label"] for video in page.all("video")]
    assert videos == ["candidate 0.1, episode 0", "candidate 0.0, episode 0"], (
        "the best comes first"
    )
    assert "No video: no driver" in page.text, "and the native reward's is said to be missing"
    form = page.text.index("What do you think of these candidates?")
    assert form < page.text.index("candidate 0.1 in the search") < page.text.index("Lineage")
    api.post(f"/v1/jobs/{job_id}/feedback", json={"kind": "text", "text": "calmer"})
    assert read(api.get(f"/jobs/{job_id}")).all("video"), "until the next iteration has candidates"
    with stories.step(store, job_id, "propose/1") as claim:
        claim.add_candidate(trained(0, iteration=1))
    assert not read(api.get(f"/jobs/{job_id}")).all("video")


# --- a candidate ------------------------------------------------------------------------------


def test_a_candidate_shows_code_curves_terms_and_words(api, store):
    job_id = stories.a_finished_job(store)
    page = read(api.get(f"/candidates/{candidate_of(job_id, 0)}"))
    assert "Fitness 0.8 over 2 seeds in the search, above the native reward's 0.2." in page.text
    assert page.all("span", **{"class": "k"}), "keywords of the code have a colour"
    assert len(page.all("div", **{"class": "figure"})) == 1
    (figure,) = [a for tag, a in page.elements if "data-plot" in a]
    assert '"name":"seed 0"' in figure["data-plot"]
    assert "dominant: drowns the other components" in page.text
    assert "Park the point." in page.text
    assert "`near` is all of the reward." in page.text


def test_a_rejected_candidate_says_why_and_what_it_is_not(api, store):
    job_id = stories.a_finished_job(store)
    text = words_of(api, f"/candidates/{candidate_of(job_id, 1)}")
    assert "It was rejected." in text
    assert "line 3: expected a dict, but found a float" in text
    assert "It was never trained." in text


def test_a_screened_candidate_tells_what_the_screen_said(api, store):
    job_id = stories.a_job_in_training(store)
    held = replace(
        proposed(0, iteration=1),
        status="screened",
        rejection="It pays more for the worse episode.",
        screens=(Screen("order", "fail", -0.4, "It pays more for the worse episode.", "0.0"),),
    )
    with stories.step(store, job_id, "propose/1") as claim:
        claim.add_candidate(held)
    text = words_of(api, f"/candidates/{candidate_of(job_id, 0, iteration=1)}")
    assert "It was held back by a screen." in text
    assert "order : It pays more for the worse episode." in text


def test_cost_tells_tokens_by_iteration_and_model(api, store):
    job_id = stories.a_finished_job(store)
    text = words_of(api, f"/jobs/{job_id}/cost")
    assert "grammar 1 100 50" in text
    assert "You design rewards." in text


def test_the_library_finds_a_finished_design_and_starts_from_it(api, store):
    job_id = stories.a_finished_job(store)
    page = read(api.get("/library?q=metre"))
    assert page.all("a", href=f"/jobs/{job_id}")
    (start,) = [link for link in page.links() if f"library={job_id}" in link]
    assert read(api.get(start)).all("input", name="library", value=job_id)
    assert "No design fits these words." in words_of(api, "/library?q=zzz")


def test_workers_say_that_nothing_moves(api, store):
    stories.a_job_in_training(store)
    assert "Unfinished jobs" in words_of(api, "/workers")


# --- what strangers wrote ---------------------------------------------------------------------

HOSTILE = (
    """"'><script>alert(1)</script><img src=//evil.example onerror=alert(2)>{{ 7*7 }}</textarea>"""
)


def a_hostile_job(store) -> str:
    """Every text that a model or a user can write is an attack on whoever looks at it."""
    task = replace(a_task(), description=HOSTILE, actions=HOSTILE)
    designer = DesignerChoice("evolution", model=HOSTILE[:60])
    job_id = stories.a_new_job(store, name=HOSTILE, task=task, designer=designer)
    code = f"import numpy as np\n\n\ndef reward(obs, action, next_obs, params):\n    # {HOSTILE}\n"
    code += "    return {}\n"
    good = replace(trained(0), program=a_program(code), analysis=HOSTILE, prediction=HOSTILE)
    with stories.step(store, job_id, "preflight") as claim:
        claim.add_preflight(a_preflight())
    with stories.step(store, job_id, "baseline") as claim:
        claim.add_runs([a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in (0, 1)], {})
    with stories.step(store, job_id, "propose/0") as claim:
        exchange = stories.an_exchange()
        claim.add_exchange(
            replace(exchange, reply=replace(exchange.reply, text=HOSTILE, model=HOSTILE))
        )
        claim.add_candidate(good)
        claim.add_candidate(rejected(1, HOSTILE))
        claim.end_proposing(0)
        claim.event("log", HOSTILE, {}, "warning")
    report = stories.a_report()
    report = replace(
        report,
        components={HOSTILE: replace(report.components["near"], by_checkpoint=(0.1, 0.2))},
        episodes={HOSTILE: ({HOSTILE: HOSTILE},)},
        unexamined=HOSTILE,
    )
    with stories.step(store, job_id, "train/0/0/0") as claim:
        claim.add_runs([a_run("0.0", 0.7, seed=s) for s in (0, 1)], {"0.0": report})
    with stories.step(store, job_id, "reflect/0") as claim:
        claim.add_feedback(Feedback(0, HOSTILE, "0.0", (HOSTILE,), analysis=HOSTILE))
    store.add_remark(job_id, Remark(0, "text", "0.0", text=HOSTILE))
    return job_id


@pytest.mark.parametrize(
    "path",
    [
        "/jobs",
        "/workers",
        "/jobs/{job}",
        "/jobs/{job}/cost",
        "/jobs/{job}/iterations/0",
        "/candidates/{first}",
        "/candidates/{second}",
    ],
)
def test_what_others_wrote_is_text_and_nothing_else(api, store, path):
    job_id = a_hostile_job(store)
    first, second = candidate_of(job_id, 0), candidate_of(job_id, 1)
    page = read(api.get(path.format(job=job_id, first=first, second=second)))
    assert "<script>alert(1)</script>" in page.text, "it is shown as it was written"
    assert not [a for tag, a in page.elements if "evil" in str(a.get("src", ""))]
    assert "49" not in page.text.replace(job_id, "").split(), "no template was run"


@pytest.mark.parametrize(
    "path", ["/jobs?task={0}", "/library?q={0}&task={0}", "/jobs/new?task={0}&library={0}"]
)
def test_what_stands_in_an_address_is_text_and_nothing_else(api, path):
    read(api.get(path.format("%22%27%3E%3Cscript%3Ealert(1)%3C/script%3E")))
