"""The runoff: the search's best designs are trained again before one of them is chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.budgets import closing_cost, confirm_cost, runoff_cost
from core.choosing import confirm_arms, finalists
from core.loop import Confirm, Runoff, next_steps, read_step, step_key
from core.packing import runoff_packs
from core.records.history import Spent
from core.records.kinds import NATIVE
from core.records.rounds import Feedback
from core.records.spec import Budget, Evaluation, Training
from core.seeding import confirm_seeds, runoff_seeds, search_seeds
from tests.builders import a_history, a_preflight, a_run, a_spec, an_iteration, rejected, trained
from tests.heart.driving import drive

STEPS = 1_000


def job(*iterations, candidates=2, runs=(), rungs=(1.0,), seeds=2, **changes):
    """A job whose search is over and that asks for a runoff of two seeds."""
    spec = a_spec(
        iterations=len(iterations),
        training=Training(steps=STEPS, seeds=2, packs=1, rungs=rungs),
        evaluation=Evaluation(confirm_seeds=3, runoff_candidates=candidates, runoff_seeds=seeds),
        budget=changes.pop("budget", Budget()),
    )
    closed = [replace(one, feedback=Feedback(one.number, "", None)) for one in iterations]
    return a_history(*closed, spec=spec, runoffs=tuple(runs), **changes)


LUCKY, STEADY, WEAK = trained(0, 0.9, 0.9), trained(1, 0.8, 0.8), trained(2, 0.1, 0.1)
SEARCH = an_iteration(LUCKY, STEADY, WEAK)


def again(arm, *fitness):
    """Runs of the runoff."""
    return [a_run(arm, value, seed=200 + n, stage="runoff") for n, value in enumerate(fitness)]


def test_the_best_of_the_search_are_trained_again_before_the_confirmation():
    assert next_steps(job(SEARCH)) == (Runoff(0),)
    assert runoff_packs(job(SEARCH)) == [(("0.0", 200), ("0.0", 201), ("0.1", 200), ("0.1", 201))]
    assert read_step(step_key(Runoff(1))) == Runoff(1)


def test_who_was_only_lucky_in_the_search_is_not_confirmed():
    runs = [*again("0.0", 0.0, 0.1), *again("0.1", 0.8, 0.7)]
    history = job(SEARCH, runs=runs)
    assert [c.key for c in finalists(history)] == ["0.1", "0.0", "0.2"]
    assert confirm_arms(history) == (NATIVE, "0.1")
    assert next_steps(history) == (Confirm(0), Confirm(1))


def test_a_runoff_that_is_not_over_decides_nothing():
    assert finalists(job(SEARCH, runs=again("0.1", 0.9, 0.9))) == [LUCKY, STEADY, WEAK]


def test_a_run_that_fails_in_the_runoff_is_worth_what_chance_is():
    runs = [*again("0.0", 0.9, None), *again("0.1", 0.7, 0.7)]
    assert confirm_arms(job(SEARCH, runs=runs)) == (NATIVE, "0.1")


def test_runs_that_were_cut_short_by_a_rung_do_not_count():
    early = trained(0, 0.9, 0.9, rung=0)
    early = replace(early, runs=(*early.runs, *trained(0, 0.2, 0.2, rung=1).runs))
    late = trained(1, 0.3, 0.3, rung=1)
    runs = [*again("0.0", 0.2, 0.2), *again("0.1", 0.3, 0.3)]
    history = job(an_iteration(early, late), runs=runs, rungs=(0.5, 1.0))
    assert [c.key for c in finalists(history)] == ["0.1", "0.0"]


@pytest.mark.parametrize(
    ("iteration", "candidates"),
    [
        pytest.param(SEARCH, 0, id="none was asked for"),
        pytest.param(an_iteration(LUCKY), 2, id="there is one design only"),
        pytest.param(SEARCH, 1, id="one is asked for"),
    ],
)
def test_where_there_is_nothing_to_choose_there_is_no_runoff(iteration, candidates):
    assert next_steps(job(iteration, candidates=candidates)) == (Confirm(0), Confirm(1))


def test_a_search_that_found_nothing_ends_without_a_runoff():
    history = job(an_iteration(rejected(0)))
    assert runoff_packs(history) == []


def test_its_seeds_are_those_of_neither_search_nor_confirmation_and_stay_the_same():
    history = job(SEARCH, seeds=20)
    others = {*search_seeds(history), *confirm_seeds(history)}
    assert not others & set(runoff_seeds(history))
    longer = replace(history, extensions=3)
    assert runoff_seeds(longer) == runoff_seeds(history)
    assert not set(confirm_seeds(longer)) & set(runoff_seeds(history))


def test_what_it_costs_is_planned_and_kept_back():
    spec = job(SEARCH).spec
    assert runoff_cost(spec) == 2 * 2 * STEPS
    assert closing_cost(spec) == runoff_cost(spec) + confirm_cost(spec)


def test_a_job_that_is_out_of_time_goes_to_its_verdict():
    history = job(SEARCH, spent=Spent(seconds=11.0), budget=Budget(seconds=10.0))
    assert next_steps(history) == (Confirm(0), Confirm(1))
    begun = replace(history, runoffs=tuple(again("0.0", 0.5, 0.5)))
    assert next_steps(begun) == (Runoff(0),)


def test_packs_are_split_as_a_rung_s_are_and_candidates_stay_whole():
    history = job(SEARCH, candidates=3)
    automatic = replace(history.spec, training=replace(history.spec.training, packs=0))
    history = replace(history, spec=automatic, preflight=a_preflight(at_once=3))
    packs = runoff_packs(history)
    assert [sorted({arm for arm, _ in pack}) for pack in packs] == [["0.0"], ["0.1"], ["0.2"]]


@pytest.mark.parametrize("value", [0.5, None], ids=["all runs score", "all runs fail"])
def test_a_whole_job_with_a_runoff_ends(value):
    spec = a_spec(
        iterations=2,
        candidates=3,
        training=Training(steps=STEPS, seeds=2, packs=2),
        evaluation=Evaluation(runoff_candidates=3, runoff_seeds=2),
    )
    steps = drive(spec, lambda arm, seed: value)
    assert steps[-1] == "finish"
    ran = [step for step in steps if step.startswith("runoff")]
    assert ran == (["runoff/0", "runoff/1"] if value else [])
    assert len(steps) == len(set(steps))
