"""Rounds of chaos, each a minute or more of real processes: slow.  `make chaos` is the longer form."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.mutations import MUTATIONS, PATCHES
from tests.chaos.plans import PLANS, SCENES
from tests.chaos.schedule import draw
from tests.chaos.suite import run
from tests.databases import quick_folder

ROOT = Path(__file__).parents[2]
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
    deaths = found.get("worker_kills", 0) + found.get("worker_pauses", 0)
    assert deaths + found.get("server_kills", 0) >= 3, found


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


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch[0])
def test_a_protection_stands_where_its_patch_looks_for_it_and_its_tests_exist(patch):
    _, file, before, _, red = patch
    assert (ROOT / file).read_text().count(before) == 1
    for test in red:
        path, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text()


def test_every_protection_that_can_be_taken_away_has_a_scene():
    assert set(MUTATIONS) == set(SCENES)
