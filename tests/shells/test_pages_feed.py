"""The live part of a job's page: news as HTML, again and again, until the job has ended."""

from __future__ import annotations

import httpx2
import pytest

from api.pages import feed
from tests.shells import stories
from tests.shells.conftest import ON_SQLITE
from tests.shells.test_event_stream import events_of

pytestmark = ON_SQLITE


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(feed, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(feed, "CALM_SECONDS", 0.0)


def test_the_feed_of_a_finished_job_tells_it_once_and_ends(server, store):
    job_id = stories.a_finished_job(store)
    answer = httpx2.get(f"{server}/jobs/{job_id}/feed")
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, last = events_of(answer.text)
    assert first["id"] == str(store.job(job_id).event_count)
    assert last["event"] == "end"
    assert 'hx-target="#now"' in answer.text
    assert 'hx-target="#facts"' in answer.text
    assert "The designed reward is better than the native one." in answer.text


def test_whoever_has_seen_everything_is_not_told_it_again(server, store):
    job_id = stories.a_finished_job(store)
    seen = str(store.job(job_id).event_count)
    for told in ({"params": {"after": seen}}, {"headers": {"Last-Event-ID": seen}}):
        assert 'hx-target="#facts"' not in httpx2.get(f"{server}/jobs/{job_id}/feed", **told).text


def test_news_come_while_the_job_goes_on(server, store):
    job_id = stories.a_job_in_training(store)
    seen = store.job(job_id).event_count
    with (
        stories.while_training(store, job_id),
        httpx2.stream("GET", f"{server}/jobs/{job_id}/feed?after={seen}") as answer,
    ):
        lines = answer.iter_lines()
        assert any('value="600"' in line for line in lines), "what is being done is told at once"
        store.request_cancel(job_id)
        assert any("being cancelled" in line for line in lines)


def test_a_feed_counts_as_a_stream_of_its_owner(app, server, store):
    job_id = stories.a_job_in_training(store)
    with httpx2.stream("GET", f"{server}/jobs/{job_id}/feed") as answer:
        lines = answer.iter_lines()  # let go of, it would close the stream
        next(lines)
        assert sum(app.state.house.streams.values()) == 1


def test_a_feed_of_nothing_is_refused(server):
    assert httpx2.get(f"{server}/jobs/job_none/feed").status_code == 404
