"""What all workers know of an endpoint: how often it may be asked, and when it is left alone."""

from __future__ import annotations

import pytest

from core.storage import endpoints
from tests.rim.storing import at_once, until

NAME = "models.example small-1"


def fail(store, times, ended="failed"):
    for _ in range(times):
        store.endpoints.leave(NAME, ended)


def test_an_endpoint_without_a_limit_is_asked_at_once(store):
    assert [store.endpoints.enter(NAME, None) for _ in range(50)] == [0.0] * 50


def test_all_workers_together_make_no_more_calls_than_a_minute_allows(store):
    waits = at_once([lambda: store.endpoints.enter(NAME, 12)] * 16)
    assert waits.count(0.0) == 12
    assert all(0 < wait <= 5.0 for wait in waits if wait)


def test_calls_come_back_with_time(store):
    for _ in range(1000):
        if store.endpoints.enter(NAME, 120):
            break
    else:
        pytest.fail("it never ran dry")
    until(lambda: store.endpoints.enter(NAME, 120) == 0.0)


def test_a_few_failures_close_nothing(store):
    fail(store, endpoints.FAILURES - 1)
    store.endpoints.leave(NAME, "answered")
    fail(store, endpoints.FAILURES - 1)
    assert store.endpoints.enter(NAME, None) == 0.0


def test_failures_in_a_row_close_an_endpoint_for_everybody_and_for_it_alone(store):
    fail(store, endpoints.FAILURES)
    assert 50 < store.endpoints.enter(NAME, None) <= 60
    assert store.endpoints.enter("models.example large-1", None) == 0.0


def test_failures_that_lie_far_apart_close_nothing(store, monkeypatch):
    monkeypatch.setattr(endpoints, "WINDOW_SECONDS", 0.0)
    fail(store, 3 * endpoints.FAILURES)
    assert store.endpoints.enter(NAME, None) == 0.0


def test_a_refused_key_closes_an_endpoint_at_once(store):
    fail(store, 1, "refused")
    assert store.endpoints.enter(NAME, None) > 0


def test_one_call_tries_a_closed_endpoint_and_the_others_wait_for_it(store, monkeypatch):
    monkeypatch.setattr(endpoints, "CLOSED_SECONDS", 0.0)
    fail(store, endpoints.FAILURES)
    monkeypatch.setattr(endpoints, "CLOSED_SECONDS", 60.0)
    waits = at_once([lambda: store.endpoints.enter(NAME, None)] * 8)
    assert waits.count(0.0) == 1
    store.endpoints.leave(NAME, "answered")
    assert store.endpoints.enter(NAME, None) == 0.0


def test_a_try_that_fails_closes_it_again(store, monkeypatch):
    monkeypatch.setattr(endpoints, "CLOSED_SECONDS", 0.0)
    fail(store, endpoints.FAILURES)
    assert store.endpoints.enter(NAME, None) == 0.0
    monkeypatch.setattr(endpoints, "CLOSED_SECONDS", 60.0)
    fail(store, 1)
    assert store.endpoints.enter(NAME, None) > 50
