"""Rounds of chaos, each a minute or more of real processes: slow.  `make chaos` is the longer form."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.invariants import Scene, what_was_answered_became_candidates
from tests.chaos.mutations import MUTATIONS
from tests.chaos.plans import PLANS, SCENES
from tests.chaos.schedule import draw
from tests.chaos.suite import run
from tests.databases import quick_folder
from tests.rim.storing import a_claim, a_job, an_exchange

SLOW = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def folder():
    with quick_folder() as made:
        yield made


def slow(test):
    for mark in SLOW:
        test = mark(test)
    return test


def assert_sound(found):
    assert found["violations"] == 0, found


@slow
@pytest.mark.parametrize("embedded", [False, True], ids=["PostgreSQL and Valkey", "SQLite"])
def test_whatever_dies_nothing_is_lost_and_nothing_is_done_twice(folder, embedded):
    seed = random.randrange(1_000_000)  # another one every time; a failure tells it
    found = run(PLANS["short"](seed, embedded), folder, embedded=embedded)
    assert_sound(found)
    assert found["worker_kills"] >= 30
    assert found["statuses"]["succeeded"] > 0


@slow
@pytest.mark.parametrize("name", SCENES)
def test_a_scene_that_one_protection_is_for_ends_well(folder, name):
    found = run(SCENES[name], folder)
    assert_sound(found)
    happened = ("worker_kills", "worker_pauses", "server_kills")
    assert sum(found.get(kind, 0) for kind in happened) >= 1, found


def test_a_schedule_is_drawn_by_its_seed_and_nothing_else():
    usual = PLANS["usual"]
    assert draw(usual(1, False)) == draw(usual(1, False))
    assert draw(usual(1, False)) != draw(usual(2, False))


def test_a_schedule_holds_what_the_plan_asks_for():
    plan = PLANS["usual"](1, False)
    faults = draw(plan)
    kinds = [fault.kind for fault in faults]
    assert {kind: kinds.count(kind) for kind in plan.faults} == dict(plan.faults)
    assert all(0 < fault.at < plan.seconds for fault in faults)


def test_every_protection_that_can_be_taken_away_has_a_scene():
    assert set(MUTATIONS) == set(SCENES)


def test_an_answer_that_came_to_nothing_is_found(store):
    job = a_job(store)
    with a_claim(store, job.id) as step:
        step.add_exchange(an_exchange())
        step.fail("no_valid_candidate", "The budget was used up.")
    seen = Scene(store._engine, store, Path(), accepted={})
    found = what_was_answered_became_candidates(seen)
    assert found == [f"{job.id}: the answers of 0.0 came to nothing"]
