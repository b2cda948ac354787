"""Filming the winner and the native reward: when it is wanted, and what prevents nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import ClaimLost, FilmingFailed, StepInterrupted
from core.loop import Film, Finish, next_steps, read_step, step_key, to_film
from core.ports import Watch
from core.prices import Prices
from core.records import NATIVE, Budget, Evaluation, Rollout, Spent
from core.steps import carry_out
from core.toolbox import Toolbox
from core.tuning import propose_params
from tests.builders import a_history, a_spec, an_iteration, confirmations, trained
from tests.fakes import MemoryLedger, PretendLaboratory, ScriptedDesigner
from tests.heart.driving import drive

SPEC = a_spec(iterations=1, evaluation=Evaluation(confirm_seeds=2, rollouts=2))


def confirmed(**changes):
    """A job of which the winner and the native reward were trained on fresh seeds."""
    runs = confirmations({NATIVE: [0.1, 0.3], "0.0": [0.9, 0.7]})
    runs = tuple(replace(run, weights=f"{run.arm} {run.seed}") for run in runs)
    iteration = an_iteration(trained(0, 0.8, 0.9), trained(1, 0.1, 0.2), feedback=True)
    return a_history(iteration, **{"spec": SPEC, "confirmations": runs, **changes})


def test_a_film_is_a_step_between_confirmation_and_end():
    steps = drive(replace(SPEC, iterations=1), lambda arm, seed: 0.2 if arm == NATIVE else 0.9)
    assert steps[-3:] == ["confirm/1", "film", "finish"]
    assert read_step(step_key(Film())) == Film()


def test_winner_and_native_reward_are_filmed_as_often_as_asked():
    assert to_film(confirmed()) == (("0.0", 0), ("0.0", 1), (NATIVE, 0), (NATIVE, 1))


def test_what_was_filmed_or_could_not_be_is_not_wanted_again():
    stored = (Rollout("0.0", 0, 7), Rollout("0.0", 1, 8), Rollout(NATIVE, 0, 7, failure="dark"))
    assert to_film(confirmed(rollouts=stored)) == ((NATIVE, 1),)
    whole = (*stored, Rollout(NATIVE, 1, 8))
    assert next_steps(confirmed(rollouts=whole)) == (Finish(),)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(confirmed(spec=a_spec(iterations=1)), id="nobody asked for it"),
        pytest.param(
            confirmed(spec=replace(SPEC, budget=Budget(seconds=5.0)), spent=Spent(seconds=9.0)),
            id="the time is used up",
        ),
    ],
)
def test_a_job_ends_without_a_film(history):
    history = replace(
        history,
        spec=replace(history.spec, evaluation=replace(history.spec.evaluation, confirm_seeds=2)),
    )
    assert next_steps(history) == (Finish(),)


def film(history, laboratory, watch: Watch = lambda progress: None):
    ledger = MemoryLedger(history)
    tools = Toolbox(
        designer=lambda spec: ScriptedDesigner(lambda ask: ""),
        laboratory=laboratory,
        held_out=lambda job, iteration, rung, n: tuple(abs(iteration) * 100 + i for i in range(n)),
        tuner=propose_params,
        prices=Prices(),
    )
    carry_out(Film(), ledger, tools, watch)
    return ledger.facts


def laboratory(**changes):
    return PretendLaboratory(lambda arm, seed: 0.5, **changes)


def test_the_policy_of_the_best_confirmation_run_acts():
    camera = laboratory()
    film(confirmed(), camera)
    assert [order.run.weights for order in camera.films] == [
        *["0.0 500"] * 2,
        *[f"{NATIVE} 501"] * 2,
    ]


def test_episodes_have_seeds_of_their_own_and_both_arms_the_same():
    camera = laboratory()
    facts = film(confirmed(extensions=1), camera)
    assert [order.held_out for order in camera.films] == [(100400,), (100401,)] * 2
    assert {one.extension for one in facts.rollouts} == {1}


@pytest.mark.parametrize(
    "error", [FilmingFailed("no driver"), ZeroDivisionError("a fault of ours")]
)
def test_whatever_prevents_a_film_is_a_stored_reason_and_the_job_goes_on(error):
    facts = film(confirmed(), laboratory(screen_test=error))
    assert [one.failure for one in facts.rollouts] == [str(error)] * 4
    assert next_steps(facts) == (Finish(),)


@pytest.mark.parametrize("error", [ClaimLost("x"), StepInterrupted("x")])
def test_who_lost_the_step_writes_nothing(error):
    with pytest.raises(type(error)):
        film(confirmed(), laboratory(screen_test=error))


def test_an_arm_without_a_policy_is_said_to_have_none():
    bare = tuple(replace(run, weights=None) for run in confirmed().confirmations)
    facts = film(confirmed(confirmations=bare), laboratory())
    assert {one.failure for one in facts.rollouts} == {"no confirmation run of it has a policy"}
