"""What comes next, for every situation that a job can be in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.budgets import confirm_cost, iteration_cost
from core.choosing import ranking
from core.loop import (
    Ablate,
    Await,
    Baseline,
    Confirm,
    Finish,
    FitnessAlone,
    Preflight,
    Propose,
    Reflect,
    Train,
    Transfer,
    next_steps,
    read_step,
    step_key,
)
from core.packing import confirm_packs, resumable, rung_candidates, train_packs
from core.packs import physics_threads
from core.records.history import Spent
from core.records.kinds import NATIVE
from core.records.measured import Saved
from core.records.people import Remark
from core.records.spec import Budget, Evaluation, Training
from core.seeding import confirm_seeds, search_seeds
from tests.builders import (
    a_history,
    a_preflight,
    a_spec,
    an_iteration,
    confirmations,
    proposed,
    rejected,
    trained,
)
from tests.heart.driving import drive

DONE = an_iteration(trained(0, 0.5, 0.5), trained(1, 0.3, 0.3), feedback=True)
DONE_TOO = an_iteration(
    trained(0, 0.6, 0.6, iteration=1), trained(1, 0.2, 0.2, iteration=1), number=1, feedback=True
)
CONFIRMED = confirmations({NATIVE: [0.2, 0.2, 0.2], "1.0": [0.6, 0.6, 0.6]})
HALF_CONFIRMED = confirmations({NATIVE: [0.2, 0.2, 0.2], "1.0": [0.6, 0.6]})
RUNGS = a_spec(candidates=3, training=Training(steps=1000, seeds=1, packs=1, rungs=(0.3, 1.0)))


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param(
            a_history(preflight=None), [Preflight()], id="a new job looks at the environment first"
        ),
        pytest.param(
            a_history(native=()),
            [Baseline(), Propose(0)],
            id="the baseline trains while the designer thinks",
        ),
        pytest.param(a_history(), [Propose(0)], id="then the designer is asked"),
        pytest.param(
            a_history(claimed=frozenset({"propose/0"})),
            [],
            id="a claimed step is not started twice",
        ),
        pytest.param(
            a_history(an_iteration(proposed(0), proposed=False)),
            [Propose(0)],
            id="a half-proposed iteration is proposed to its end",
        ),
        pytest.param(
            a_history(an_iteration(proposed(0), proposed(1))),
            [Train(0, 0, 0)],
            id="what passed its checks is trained",
        ),
        pytest.param(
            a_history(an_iteration(rejected(0), trained(1, 0.5))),
            [Train(0, 0, 0)],
            id="a missing seed is trained, not the pack given up",
        ),
        pytest.param(
            a_history(an_iteration(rejected(0), trained(1, 0.5, None))),
            [Reflect(0)],
            id="a failed run is an ended run",
        ),
        pytest.param(
            a_history(an_iteration(rejected(0), rejected(1))),
            [Reflect(0)],
            id="nothing to train: reflect at once",
        ),
        pytest.param(
            a_history(an_iteration(trained(0, 0.5, 0.5)), native=()),
            [Baseline()],
            id="reflection waits for the baseline",
        ),
        pytest.param(a_history(DONE), [Propose(1)], id="the next iteration follows reflection"),
        pytest.param(
            a_history(DONE, DONE_TOO),
            [Confirm(0), Confirm(1)],
            id="after the last iteration: confirm",
        ),
        pytest.param(
            a_history(DONE, DONE_TOO, confirmations=HALF_CONFIRMED),
            [Confirm(1)],
            id="a half-confirmed job goes on",
        ),
        pytest.param(
            a_history(DONE, DONE_TOO, confirmations=CONFIRMED), [Finish()], id="then finish"
        ),
        pytest.param(
            a_history(an_iteration(rejected(0), feedback=True), spec=a_spec(iterations=1)),
            [Finish()],
            id="nothing to confirm: finish says so",
        ),
        pytest.param(a_history(status="succeeded"), [], id="a finished job wants nothing"),
        pytest.param(a_history(cancel_requested=True), [], id="a cancelled job wants nothing"),
        pytest.param(a_history(pause_requested=True), [], id="a paused job wants nothing"),
    ],
)
def test_what_to_do_next(history, expected):
    assert list(next_steps(history)) == expected


@pytest.mark.parametrize(
    "step",
    [
        *(Preflight(), Baseline(), FitnessAlone(), Propose(3), Train(1, 2, 0), Reflect(1)),
        *(Confirm(1), Transfer(1), Ablate(2), Finish()),
    ],
    ids=step_key,
)
def test_a_step_is_named_and_found_again(step):
    assert read_step(step_key(step)) == step


def test_packs_keep_candidates_whole_and_cover_every_run_once():
    spec = a_spec(candidates=3, training=Training(steps=1000, seeds=2, packs=2))
    iteration = an_iteration(proposed(0), rejected(1), proposed(2), proposed(3))
    packs = train_packs(a_history(spec=spec), iteration, 0)
    assert packs == [
        (("0.0", 0), ("0.0", 1), ("0.2", 0), ("0.2", 1)),
        (("0.3", 0), ("0.3", 1)),
    ]


@pytest.mark.parametrize(
    ("found", "candidates", "packs"),
    [
        pytest.param({"at_once": 4}, 8, 4, id="one for every training at once"),
        pytest.param({"at_once": 64}, 3, 3, id="candidates stay whole"),
        pytest.param({"at_once": 4}, 1, 1, id="one candidate is one pack"),
        pytest.param({"at_once": 1}, 8, 1, id="one at a time"),
        pytest.param({}, 8, 2, id="nobody has counted"),
        pytest.param({"at_once": 4, "memory_bytes": 2**31}, 8, 4, id="memory for four"),
        pytest.param({"at_once": 4, "memory_bytes": 2**30}, 8, 2, id="memory for two"),
        pytest.param(
            {"at_once": 4, "memory_bytes": 2**31, "row_bytes": 2**23}, 8, 2, id="large environments"
        ),
        pytest.param({"at_once": 4, "memory_bytes": 1}, 8, 1, id="hardly any memory"),
        pytest.param({"at_once": 2}, 32, 4, id="objects beyond the cache: two after one another"),
        pytest.param({"at_once": 2}, 17, 4, id="as many after one another for everybody"),
        pytest.param({"at_once": 2, "adapter": "numpy"}, 32, 2, id="arrays of any length"),
    ],
)
def test_there_are_as_many_packs_as_pay_unless_a_number_is_asked_for(found, candidates, packs):
    iteration = an_iteration(*map(proposed, range(candidates)))
    automatic = a_spec(training=Training(seeds=2, envs=8, packs=0))
    history = a_history(spec=automatic, preflight=a_preflight(**found))
    assert len(train_packs(history, iteration, 0)) == packs
    asked = replace(history, spec=a_spec(training=Training(seeds=2, packs=3)))
    assert len(train_packs(asked, iteration, 0)) == min(3, candidates)


def test_two_runs_are_one_pack_because_one_alone_would_take_as_long():
    iteration = an_iteration(proposed(0), proposed(1))
    spec = a_spec(training=Training(seeds=1, packs=0))
    history = a_history(spec=spec, preflight=a_preflight(cores=4, at_once=4))
    assert len(train_packs(history, iteration, 0)) == 1
    assert physics_threads(history.preflight, 1) == 4


@pytest.mark.parametrize(
    ("at_once", "packs", "threads"), [(1, 1, 8), (1, 2, 8), (2, 2, 4), (4, 2, 4), (0, 4, 2)]
)
def test_packs_share_the_cores_with_those_that_run_beside_them(at_once, packs, threads):
    assert physics_threads(a_preflight(cores=8, at_once=at_once), packs) == threads


def test_packs_stay_the_same_while_their_runs_come_in():
    before = an_iteration(proposed(0), proposed(1))
    after = an_iteration(trained(0, 0.5, 0.5), proposed(1))
    history = a_history(spec=a_spec(training=Training(seeds=2, packs=2)))
    assert train_packs(history, before, 0) == train_packs(history, after, 0)


def test_only_the_best_go_on_to_the_next_rung():
    iteration = an_iteration(trained(0, 0.3), trained(1, 0.9), trained(2, 0.5))
    assert next_steps(a_history(iteration, spec=RUNGS)) == (Train(0, 1, 0),)
    assert train_packs(a_history(spec=RUNGS), iteration, 1) == [(("0.1", 0),)]


def test_a_rung_that_tells_nobody_from_another_lets_everybody_go_on():
    iteration = an_iteration(trained(0, 0.0), trained(1, 0.0), trained(2, 0.0))
    assert len(train_packs(a_history(spec=RUNGS), iteration, 1)[0]) == 3


def test_only_candidates_at_the_last_rung_are_ranked():
    iteration = an_iteration(trained(0, 0.9, rung=0), trained(1, 0.5, rung=1))
    assert [c.key for c in ranking(a_history(iteration, spec=RUNGS))] == ["0.1"]


def test_a_candidate_with_a_failed_seed_is_not_ranked_by_its_lucky_one():
    iteration = an_iteration(trained(0, 0.9, None), trained(1, 0.5, 0.5))
    assert [c.key for c in ranking(a_history(iteration))] == ["0.1"]


def test_what_the_confirmation_costs_is_kept_back_from_the_budget():
    spec = a_spec(iterations=5)
    one_more = iteration_cost(spec) + confirm_cost(spec)
    spent = Spent(env_steps=6000)

    def with_limit(env_steps):
        limited = a_spec(iterations=5, budget=Budget(env_steps=env_steps))
        return next_steps(a_history(DONE, spec=limited, spent=spent))

    assert with_limit(6000 + one_more) == (Propose(1),)
    assert with_limit(6000 + one_more - 1) == (Confirm(0), Confirm(1))


@pytest.mark.parametrize(
    ("budget", "spent"),
    [(Budget(tokens=10), Spent(tokens=10)), (Budget(seconds=5.0), Spent(seconds=6.0))],
    ids=["tokens", "seconds"],
)
def test_a_used_up_budget_ends_the_search_and_confirms_what_exists(budget, spent):
    history = a_history(DONE, spec=a_spec(budget=budget), spent=spent)
    assert next_steps(history) == (Confirm(0), Confirm(1))


@pytest.mark.parametrize("closed", [(), (DONE,)], ids=["the first", "a later one"])
@pytest.mark.parametrize(
    ("budget", "spent"),
    [(Budget(tokens=10), Spent(tokens=10)), (Budget(seconds=5.0), Spent(seconds=6.0))],
    ids=["tokens", "seconds"],
)
def test_a_budget_that_is_used_up_does_not_end_an_iteration_that_is_being_proposed(
    budget, spent, closed
):
    in_hand = frozenset({f"propose/{len(closed)}"})
    spec = a_spec(budget=budget)
    assert next_steps(a_history(*closed, spec=spec, spent=spent, claimed=in_hand)) == ()


def test_whoever_holds_a_proposal_beyond_the_plan_keeps_nobody_from_the_end():
    history = a_history(DONE, DONE_TOO, claimed=frozenset({"propose/2"}))
    assert next_steps(history) == (Confirm(0), Confirm(1))


def test_what_was_proposed_is_trained_even_when_the_designers_budget_is_used_up():
    history = a_history(
        an_iteration(proposed(0)), spec=a_spec(budget=Budget(tokens=1)), spent=Spent(tokens=2)
    )
    assert next_steps(history) == (Train(0, 0, 0),)


@pytest.mark.parametrize("packs", [1, 2, 4])
def test_no_program_is_confirmed_beside_the_runs_it_is_compared_with(packs):
    spec = a_spec(
        training=Training(seeds=2, packs=packs),
        evaluation=Evaluation(confirm_seeds=3, confirm_candidates=2),
    )
    history = a_history(DONE, DONE_TOO, spec=spec)
    found = confirm_packs(history)
    assert all(len({arm == NATIVE for arm, _ in pack}) == 1 for pack in found)
    members = [member for pack in found for member in pack]
    assert len(members) == len(set(members)) == 3 * 3
    assert len(found) == max(2, packs)


@pytest.mark.parametrize(
    ("at_once", "seeds", "packs"),
    [
        pytest.param(1, 5, 2, id="one after the other"),
        pytest.param(2, 5, 2, id="one each"),
        pytest.param(4, 5, 3, id="five designed runs are no more than two packs"),
        pytest.param(4, 10, 4, id="as many as run at once"),
    ],
)
def test_the_designed_runs_of_a_confirmation_are_split_beside_the_native_pack(
    at_once, seeds, packs
):
    spec = a_spec(
        training=Training(seeds=2, packs=0),
        evaluation=Evaluation(confirm_seeds=seeds, confirm_candidates=1),
    )
    preflight = a_preflight(cores=8, at_once=at_once)
    assert len(confirm_packs(a_history(DONE, DONE_TOO, spec=spec, preflight=preflight))) == packs


def test_confirmation_seeds_were_never_used_in_the_search():
    history = a_history(spec=a_spec(evaluation=Evaluation(confirm_seeds=10), seed=3))
    assert not set(confirm_seeds(history)) & set(search_seeds(history))


@pytest.mark.parametrize(
    "fitness",
    [lambda arm, seed: len(arm) / 10 + seed / 1000, lambda arm, seed: None],
    ids=["all runs score", "all runs fail"],
)
@pytest.mark.parametrize("rungs", [(1.0,), (0.2, 0.5, 1.0)], ids=["one rung", "three rungs"])
def test_the_loop_ends_for_every_job_however_its_runs_turn_out(fitness, rungs):
    training = Training(steps=1000, seeds=2, packs=2, rungs=rungs)
    steps = drive(a_spec(iterations=3, candidates=5, training=training), fitness)
    assert steps[-1] == "finish"
    assert len(steps) == len(set(steps))


# --- going on after a crash -----------------------------------------------------------------------

PAIR = (("0.0", 0), ("0.1", 0))


def saved_at(*steps, stage="search", rung=1):
    return [Saved(stage, arm, seed, rung, at) for (arm, seed), at in zip(PAIR, steps, strict=False)]


@pytest.mark.parametrize("steps", [(500, 500), (500, 600)], ids=["together", "apart"])
def test_a_pack_goes_on_from_where_all_its_members_were_saved(steps):
    assert set(resumable(saved_at(*steps), "search", 1, PAIR)) == set(PAIR)


@pytest.mark.parametrize(
    "saved",
    [
        pytest.param([], id="nothing was saved"),
        pytest.param(saved_at(500), id="one member was not saved"),
        pytest.param(saved_at(500, 500, rung=0), id="it was another rung"),
        pytest.param(saved_at(500, 500, stage="confirm"), id="it was another stage"),
    ],
)
def test_otherwise_it_starts_its_rung_over(saved):
    assert resumable(saved, "search", 1, PAIR) == {}


# --- waiting for people -----------------------------------------------------------------------

PATIENT = a_spec(await_feedback=True)
REMARK = Remark(0, "text", "0.0", text="calmer, please", iteration=0)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param(a_history(DONE, spec=PATIENT), [Await(0)], id="nobody said anything"),
        pytest.param(
            a_history(DONE, spec=PATIENT, remarks=(replace(REMARK, iteration=-1),)),
            [Await(0)],
            id="a remark from before the iteration does not count",
        ),
        pytest.param(
            a_history(DONE, spec=PATIENT, remarks=(REMARK,)), [Propose(1)], id="somebody did"
        ),
        pytest.param(
            a_history(DONE, spec=PATIENT, status="awaiting_feedback"), [], id="it waits already"
        ),
        pytest.param(a_history(spec=PATIENT), [Propose(0)], id="there is nothing to speak of yet"),
        pytest.param(
            a_history(DONE, an_iteration(proposed(0), number=1, proposed=False), spec=PATIENT),
            [Propose(1)],
            id="an iteration that has begun goes on",
        ),
        pytest.param(
            a_history(DONE, DONE_TOO, spec=PATIENT),
            [Confirm(0), Confirm(1)],
            id="nothing comes after the last",
        ),
        pytest.param(a_history(DONE), [Propose(1)], id="jobs do not wait unless they ask for it"),
    ],
)
def test_a_job_may_wait_for_people_between_iterations(history, expected):
    assert list(next_steps(history)) == expected


def test_waiting_is_a_step_with_a_key():
    assert read_step(step_key(Await(3))) == Await(3)


# --- a threshold ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "fitness", "expected"),
    [
        pytest.param(None, (0.05, 0.04), ["0.0", "0.1"], id="without one, chance ends nobody"),
        pytest.param(0.0, (0.05, 0.05), [], id="nobody beats chance, nobody goes on"),
        pytest.param(0.0, (0.05, 0.2), ["0.1"], id="who beats it does"),
        pytest.param(0.2, (0.2, 0.4), ["0.1"], id="by the gain that is asked for"),
    ],
)
def test_a_threshold_ends_a_candidate_at_its_rung(threshold, fitness, expected):
    training = replace(RUNGS.training, threshold=threshold, keep=1.0)
    iteration = an_iteration(*(trained(n, value) for n, value in enumerate(fitness)))
    history = a_history(iteration, spec=replace(RUNGS, training=training))
    assert [c.key for c in rung_candidates(history, iteration, 1)] == expected


def test_where_the_threshold_stopped_everybody_the_rung_they_reached_counts():
    training = replace(RUNGS.training, threshold=0.0)
    iteration = an_iteration(trained(0, 0.05), trained(1, 0.08))
    assert [
        c.key for c in ranking(a_history(iteration, spec=replace(RUNGS, training=training)))
    ] == [
        "0.1",
        "0.0",
    ]
