"""The whole story in a browser: a new job, its life, a candidate, a comparison, and the download."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.stack import QUICK_TASK, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # a browser, and a job from start to end

MORE = (
    '{"training": {"packs": 2, "checkpoints": 2}, '
    '"evaluation": {"episodes": 2, "confirm_seeds": 2, "confirm_episodes": 2}}'
)
ENOUGH = 240_000  # milliseconds that a small job may take on a busy machine
PLAYING = "[...document.querySelectorAll('.ask video')].every((f) => !f.paused && f.currentTime)"
VERDICT = re.compile(r"The (designed|native) reward")


def test_from_a_new_job_to_the_download(look, life):
    eyes = look(life.url)
    page = eyes.go("/")
    page.click("text=New job")
    page.check("input[name=task][value=cartpole]")
    page.fill("input[name=iterations]", "1")
    page.fill("input[name=candidates]", "3")
    page.fill("input[name=steps]", str(QUICK_TASK["training"]["steps"]))
    page.fill("input[name=seeds]", "1")
    page.click("text=More options, as JSON")
    page.fill("textarea[name=more]", MORE)

    page.click("text=Show cost and prompt first")
    expect(page.locator("#preview")).to_contain_text("What the model will see first")
    expect(page.locator("#preview")).to_contain_text("asks no model")
    page.click("text=Start the job")
    page.wait_for_url(re.compile(r"/jobs/job_\w+$"))

    page.evaluate("window.sameDocument = true")
    expect(page.locator("#facts circle.dot").first).to_be_visible(timeout=ENOUGH)
    expect(page.locator(".banner h2")).to_have_text(VERDICT, timeout=ENOUGH)
    expect(page.locator("#now .badge").first).to_have_text("finished")
    assert page.evaluate("window.sameDocument"), "it was told live, without a reload"
    job = page.url

    page.locator("table.candidates a.title").first.click()
    expect(page.locator("pre.source .k").first).to_be_visible()
    expect(page.locator("[data-plot] canvas").first).to_be_visible()
    page.goto(job)

    boxes = page.locator("input[name=c]")
    for place in range(2):
        boxes.nth(place).check()
    page.click("text=Compare chosen")
    expect(page.locator("h1")).to_contain_text("Compare 0.")
    expect(page.locator("table.diff").first).to_be_visible()
    expect(page.get_by_text("native reward").first).to_be_visible()
    page.goto(job)

    with page.expect_download() as download:
        page.click("text=reward.py")
    with open(download.value.path()) as file:
        assert "def reward(" in file.read()


def test_what_is_to_be_judged_is_filmed_and_played_beside_the_form(look, life):
    job = life.post("/v1/jobs", {**QUICK_TASK, "iterations": 2, "await_feedback": True})
    page = look(life.url).go(f"/jobs/{job['id']}")
    expect(page.locator("#now .badge").first).to_have_text("awaiting your feedback", timeout=ENOUGH)
    videos = page.locator(".ask video")
    expect(videos).to_have_count(3)  # both candidates and the native reward
    page.click("text=Play together")  # the films came while the page was open
    eventually(lambda: page.evaluate(PLAYING), 20, "all films play")
    page.locator("[data-play]").click()
    expect(page.locator("[data-play]")).to_have_text("Play together")
    page.fill(".ask textarea", "Calmer, please.")
    page.click(".ask button.primary")
    expect(page.locator("#now .badge").first).to_have_text("finished", timeout=ENOUGH)
    assert life.get(f"/v1/jobs/{job['id']}/feedback")["data"][0]["text"] == "Calmer, please."


def test_by_keyboard_alone(look, life):
    """Tab, letters and Enter: no click, no pointer."""
    page = look(life.url).go("/jobs")
    keyboard = page.keyboard
    keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    tab_to(page, "New job")
    keyboard.press("Enter")
    page.wait_for_url("**/jobs/new")
    tab_to(page, "Start the job")
    for _ in range(40):  # back to the fields
        if page.evaluate("document.activeElement.name") == "iterations":
            break
        keyboard.press("Shift+Tab")
    keyboard.type("1")
    keyboard.press("Tab")
    keyboard.type("2")
    keyboard.press("Tab")
    keyboard.type("3000")
    keyboard.press("Enter")  # a form is sent from any of its fields
    page.wait_for_url(re.compile(r"/jobs/job_\w+$"))
    expect(page.locator("table.candidates a.title").first).to_be_visible(timeout=ENOUGH)
    keyboard.press("j")
    assert focused(page).startswith("0.")
    keyboard.press("Enter")
    page.wait_for_url("**/candidates/**")
    expect(page.locator("h1")).to_contain_text("Candidate 0.")


def focused(page) -> str:
    return page.evaluate("document.activeElement.textContent.trim()")


def tab_to(page, words: str) -> None:
    for _ in range(200):
        if focused(page) == words:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{words!r} is not reached by Tab")


def test_a_feed_that_was_cut_goes_on(look, life):
    """The network is gone for a while; what happened meanwhile is told when it is back."""
    job = life.post("/v1/jobs", QUICK_TASK)
    eyes = look(life.url)
    page = eyes.go(f"/jobs/{job['id']}")
    eyes.context.set_offline(True)
    life.finished(job["id"])
    eyes.context.set_offline(False)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(".banner h2")).to_have_text(VERDICT, timeout=90_000)
    eyes.complaints.clear()  # that there was no network is told on the console


def test_a_feed_that_could_not_begin_is_asked_for_again(look, life):
    """As where a page comes while the network goes, or the server has more to do than it can."""
    job = life.post("/v1/jobs", QUICK_TASK)
    eyes = look(life.url)
    refused = []

    def refuse_twice(route):
        refused.append(route.request.url)
        if len(refused) == 1:
            route.abort()
        elif len(refused) == 2:
            route.fulfill(status=503, headers={"Retry-After": "1"}, body="busy")
        else:
            route.continue_()

    eyes.page.route("**/feed?*", refuse_twice)
    eyes.page.clock.install()
    page = eyes.go(f"/jobs/{job['id']}")
    expect(page.locator(".banner h2")).to_have_text(VERDICT, timeout=90_000)
    asked = len(refused)
    assert asked >= 3
    page.clock.run_for(60_000)  # as if the page stayed open: what has ended is not asked for again
    assert page.evaluate("fetch('/healthz').then(answer => answer.status)") == 200
    assert len(refused) == asked
    eyes.complaints.clear()  # the two refusals are told on the console
