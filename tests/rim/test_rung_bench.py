"""The bench of rungs: what it keeps of a job, and what it says a schedule would have picked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.design.ladder import LADDER
from bench.design.rungs import (
    FINE,
    SEEDS,
    Schedule,
    curves,
    curves_key,
    page,
    told,
    worth,
)
from core.records.history import History
from tests.builders import a_history, a_preflight, an_iteration, trained

ACROBOT = next(entry for entry in LADDER if entry.task == "acrobot")
FULL = Schedule((1.0,))
HALVED = Schedule((0.35, 1.0), 0.5)


def steady(final):
    """Return a curve [seed][rung] that grows evenly to its end, the same with all seeds."""
    return [[final * share for share in FINE]] * SEEDS


def late(final):
    """Return a curve that is nothing until the last rung."""
    return [[0.0] * (len(FINE) - 1) + [final]] * SEEDS


def a_cell(*iterations, chance=0.0):
    key = dict(curves_key(ACROBOT, 10))
    about = {"machine": "a machine", "date": "2026-01-01T00:00:00+00:00"}
    return {"key": key, "chance": chance, "fitness": [list(i) for i in iterations], **about}


def test_full_training_picks_the_best_of_all_iterations_and_costs_everything():
    cell = a_cell([steady(0.2), steady(0.5)], [steady(0.9), steady(0.4)])
    assert worth(cell, FULL) == (pytest.approx(0.9), 1.0)


def test_what_rises_early_is_found_with_fewer_steps():
    cell = a_cell([steady(0.2), steady(0.5), steady(0.9), steady(0.4)])
    # Four to a third of the steps, two of them to the end.
    assert worth(cell, HALVED) == (pytest.approx(0.9), pytest.approx((4 * 0.35 + 2 * 0.65) / 4))


def test_what_rises_late_is_lost_by_halving():
    cell = a_cell([steady(0.2), late(0.9), steady(0.5), steady(0.4)])
    assert worth(cell, HALVED)[0] == pytest.approx(0.5)
    assert worth(cell, FULL)[0] == pytest.approx(0.9)


def test_a_choice_is_judged_by_other_seeds_than_those_that_made_it():
    lucky = [[1.0] * len(FINE)] * 2 + [[0.0] * len(FINE)] * 2
    value, _ = worth(a_cell([lucky, [[0.4] * len(FINE)] * SEEDS]), FULL)
    # With both lucky seeds, one way of six, it is taken, and is worth nothing with the others.  One of
    # them alone does not do, by mean less error, and the other program is worth what it shows.
    assert value == pytest.approx(5 / 6 * 0.4)


def test_a_rung_at_which_nobody_beats_chance_may_be_let_to_keep_all():
    cell = a_cell([steady(0.2), steady(0.3)], chance=0.25)
    assert worth(cell, Schedule((0.35, 1.0), 0.5, all_when_blind=True))[1] == 1.0
    assert worth(cell, HALVED)[1] < 1.0


def test_an_order_that_is_there_from_the_start_is_told_at_every_rung():
    cell = a_cell([steady(0.2), steady(0.5), steady(0.9)])
    assert [told(cell, rung) for rung in range(len(FINE))] == [1.0] * len(FINE)


def test_an_order_that_nobody_has_is_not_told():
    assert told(a_cell([steady(0.5), steady(0.5)]), 0) is None


class PretendHouse:
    def __init__(self, history: History) -> None:
        self.history = history

    def carry_out(self, request, key):
        self.asked = key
        return self


def through(candidate, rungs):
    """Return a candidate that was measured at so many rungs."""
    runs = tuple(replace(run, rung=n) for n in range(rungs) for run in candidate.runs)
    return replace(candidate, runs=runs)


def test_who_was_given_up_keeps_the_last_that_was_measured():
    whole, stopped = trained(0, *[0.5] * SEEDS), trained(1, *[0.1] * SEEDS)
    history = a_history(an_iteration(through(whole, len(FINE)), through(stopped, 2)))
    house = PretendHouse(history)
    found = curves(house, LADDER[0], 10)
    assert curves_key(LADDER[0], 10)["is"] in house.asked  # another request is another job
    assert found["fitness"] == [[[[0.5] * len(FINE)] * SEEDS, [[0.1] * len(FINE)] * SEEDS]]
    assert found["chance"] == a_preflight().random_fitness


def test_the_page_says_what_was_measured():
    text = page([a_cell([steady(0.2), steady(0.9)])])
    assert "| acrobot | 1 | 1.00 |" in text
    assert "0.9 (100%)" in text


def test_a_job_that_would_be_asked_for_otherwise_now_is_not_on_the_page():
    old = a_cell([steady(0.2), steady(0.9)])
    old["key"]["is"] = "another request"
    assert "acrobot" not in page([old])


def test_a_task_on_which_full_training_is_no_better_than_chance_has_no_way_to_go():
    assert "| 1; 0.34 go on | 0 (100%) |  |" in page([a_cell([steady(0.0), steady(0.0)])])


def test_a_page_without_a_measurement_says_so():
    assert "nothing yet" in page([])


def test_a_key_changes_with_what_is_asked():
    one, other = LADDER[0], LADDER[1]
    assert curves_key(one, 10) != curves_key(one, 11)
    assert curves_key(one, 10)["is"] != curves_key(other, 10)["is"]


def test_a_job_without_any_scored_candidate_is_named_and_left_out():
    good, empty = a_cell([steady(0.2), steady(0.5)]), a_cell([], [])
    told_of = page([good, empty])
    assert "no candidate was scored with all seeds: acrobot 10." in told_of
    assert page([good]) in told_of
