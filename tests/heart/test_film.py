"""Filming the winner and the native reward: when it is wanted, and what prevents nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from core.errors import ClaimLost, FilmingFailed, StepInterrupted
from core.loop import Await, Film, Finish, Propose, Show, next_steps, read_step, step_key
from core.ports import Watch
from core.prices import Prices
from core.records.history import Spent
from core.records.kinds import NATIVE
from core.records.measured import Rollout
from core.records.people import Remark
from core.records.spec import Budget, Evaluation
from core.scenes import Scene, to_film, to_show
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
    assert to_film(confirmed()) == tuple(Scene(a, n) for a in ("0.0", NATIVE) for n in (0, 1))


def test_what_was_filmed_or_could_not_be_is_not_wanted_again():
    stored = (Rollout("0.0", 0, 7), Rollout("0.0", 1, 8), Rollout(NATIVE, 0, 7, failure="dark"))
    assert to_film(confirmed(rollouts=stored)) == (Scene(NATIVE, 1),)
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


def carried_out(step, history, laboratory, watch: Watch = lambda progress: None):
    ledger = MemoryLedger(history)
    tools = Toolbox(
        designer=lambda spec: ScriptedDesigner(lambda ask: ""),
        laboratory=laboratory,
        held_out=lambda job, iteration, rung, n: tuple(abs(iteration) * 100 + i for i in range(n)),
        tuner=propose_params,
        prices=Prices(),
    )
    carry_out(step, ledger, tools, watch)
    return ledger.facts


film = partial(carried_out, Film())


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
    assert {one.failure for one in facts.rollouts} == {"none of its runs has a policy"}


# --- what people judge ------------------------------------------------------------------------

PATIENT = a_spec(iterations=2, await_feedback=True, evaluation=Evaluation(rollouts=1))
REMARK = Remark(0, "text", "0.0", text="calmer, please", iteration=0)


def to_be_judged(**changes):
    """A job whose first iteration is measured; its four candidates did better and better."""
    made = [trained(n, 0.1 * n, 0.1 * n + 0.05) for n in range(4)]
    kept = [
        replace(c, runs=tuple(replace(run, weights=f"{run.arm} {run.seed}") for run in c.runs))
        for c in made
    ]
    history = a_history(an_iteration(*kept, feedback=True), **{"spec": PATIENT, **changes})
    native = tuple(replace(run, weights=f"{NATIVE} {run.seed}") for run in history.native)
    return replace(history, native=native)


def test_the_best_of_an_iteration_are_filmed_before_the_job_waits_for_people():
    history = to_be_judged()
    assert next_steps(history) == (Show(0),)
    assert to_show(history, 0) == (
        *(Scene(f"0.{n}", 0, "search") for n in (3, 2, 1)),
        Scene(NATIVE, 0, "baseline"),
    )
    assert read_step(step_key(Show(2))) == Show(2)
    shown = carried_out(Show(0), history, laboratory())
    assert next_steps(shown) == (Await(0),)


def test_their_policies_are_the_best_of_the_search_on_the_same_seeds():
    camera = laboratory()
    facts = carried_out(Show(0), to_be_judged(), camera)
    best = [order.run for order in camera.films]
    assert [run.fitness for run in best[:3]] == pytest.approx([0.35, 0.25, 0.15])
    assert {order.held_out for order in camera.films} == {(400,)}
    assert [one.stage for one in facts.rollouts] == ["search"] * 3 + ["baseline"]


def test_what_people_judged_is_no_film_of_the_winner():
    judged = carried_out(Show(0), to_be_judged(), laboratory()).rollouts
    assert set(to_film(confirmed(rollouts=judged))) == set(to_film(confirmed()))


def test_the_native_reward_is_shown_again_and_not_filmed_again():
    judged = carried_out(Show(0), to_be_judged(), laboratory()).rollouts
    later = an_iteration(trained(0, 0.5, 0.6, iteration=1), number=1, feedback=True)
    history = to_be_judged(rollouts=judged)
    history = replace(history, iterations=(*history.iterations, later))
    assert to_show(history, 1) == (Scene("1.0", 0, "search"),)


def test_a_film_that_fails_keeps_nobody_from_being_asked():
    facts = carried_out(Show(0), to_be_judged(), laboratory(screen_test=FilmingFailed("no driver")))
    assert {one.failure for one in facts.rollouts} == {"no driver"}
    assert next_steps(facts) == (Await(0),)


def test_who_has_spoken_already_is_shown_nothing_more():
    spoken = to_be_judged(remarks=(REMARK,))
    assert next_steps(spoken) == (Propose(1),)
    camera = laboratory()
    carried_out(Show(0), spoken, camera)
    assert camera.films == []


def test_nothing_is_filmed_for_people_where_no_films_are_wanted():
    spec = replace(PATIENT, evaluation=Evaluation(rollouts=0))
    assert next_steps(to_be_judged(spec=spec)) == (Await(0),)
