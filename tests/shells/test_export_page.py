"""A job as one HTML file: it tells what there is, asks nobody for anything, and runs nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from core.storage import Store
from tests.builders import a_task, an_outcome
from tests.shells import stories
from tests.shells.conftest import ON_SQLITE

pytestmark = ON_SQLITE
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"


class Read(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(api):
    def read(job_id: str) -> str:
        answer = api.get(f"/v1/jobs/{job_id}/export.html")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-disposition"] == f"attachment; filename={job_id}.html"
        return answer.text

    return read


def test_a_finished_job_is_told_with_verdict_charts_candidates_and_code(page, store):
    text = Read(page(stories.a_finished_job(store))).text
    assert "The designed reward is better than the native one." in text
    assert "0.83 [0.8, 0.9]" in text
    assert "Move the point one metre to the right" in text
    assert "def reward(obs, action, next_obs, params)" in text
    assert "line 3: expected a dict" in text
    assert "Fitness by iteration" in text
    assert "one term" in text, "a diagnosis"
    assert "near" in text
    assert "no model was asked" in text


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (stories.a_new_job, "The job is queued"),
        (stories.a_job_in_training, "There is no verdict yet"),
        (stories.a_failed_job, "no such environment"),
        (stories.a_blocked_job, "The job is paused"),
    ],
)
def test_a_job_in_any_state_has_a_page(page, store, story, words):
    assert words in Read(page(story(store))).text


@pytest.mark.parametrize("verdict", ["better", "equal", "worse"])
def test_a_verdict_is_said_in_plain_words(page, store, verdict):
    outcome = replace(an_outcome(), verdict=verdict)
    words = {"better": "Better than", "equal": "Not to be told", "worse": "was better"}[verdict]
    assert words in Read(page(stories.a_finished_job(store, outcome))).text


def test_a_page_asks_nobody_for_anything_and_runs_nothing(page, store):
    text = page(stories.a_finished_job(store))
    read = Read(text)
    assert {tag for tag, _ in read.elements}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video"}
    )
    loading = [v for _, attrs in read.elements for n, v in attrs.items() if n in ("src", "href")]
    assert loading == []
    assert not any(name.startswith("on") for _, attrs in read.elements for name in attrs)
    assert re.findall(r"@import|url\(", text) == []
    policy = next(attrs for _, attrs in read.elements if "http-equiv" in attrs)
    assert "default-src 'none'" in policy["content"]
    assert "script-src" not in policy["content"]


def hostile_job(store: Store) -> str:
    """Everything that people, models and environments may write is hostile."""
    return stories.a_new_job(store, name=HOSTILE, task=a_task(description=HOSTILE))


def test_what_others_wrote_is_text_and_nothing_else(page, store):
    text = page(hostile_job(store))
    assert HOSTILE not in text
    assert Read(text).text.count("alert('x')") >= 2


def test_what_a_model_wrote_is_text_and_nothing_else(page, store):
    job_id = stories.a_new_job(store)
    with stories.step(store, job_id, "propose/0") as claim:
        bad = stories.rejected(0, HOSTILE)
        claim.add_candidate(replace(bad, analysis=HOSTILE))
        claim.end_proposing(0)
    text = page(job_id)
    assert HOSTILE not in text
    assert "alert(1)" in Read(text).text


def test_a_page_can_be_printed(page, store):
    assert "@media print" in page(stories.a_finished_job(store))


def test_a_job_that_is_not_there_has_none(api):
    assert api.get(f"/v1/jobs/job_{'0' * 26}/export.html").status_code == 404
