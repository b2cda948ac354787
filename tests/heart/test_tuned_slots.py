"""Slots that a tuner fills: other numbers for code that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.loop import next_steps
from core.ports import Screening, ScreenNumbers, Trajectory
from core.records.history import History
from core.records.kinds import NATIVE
from core.records.spec import Training
from core.seeding import MOST_SEED
from core.steps import carry_out
from core.tuning import propose_params
from core.words import number
from tests.builders import a_spec
from tests.fakes import MemoryLedger, PretendLaboratory, ScriptedDesigner
from tests.heart.whole_jobs import good, run_job, toolbox


@pytest.mark.parametrize("seed", [0, MOST_SEED])
def test_numbers_are_tuned_without_asking_the_designer(seed):
    spec = a_spec(method="smith", iterations=2, candidates=4, seed=seed)
    ledger, designer, _ = run_job(spec)
    tuned = [c for c in ledger.facts.iterations[1].candidates if c.operator == "parameters"]
    assert len(tuned) == 1
    parent = next(c for c in ledger.facts.iterations[0].candidates if c.key == tuned[0].parents[0])
    assert tuned[0].program.source == parent.program.source
    assert tuned[0].program.params != parent.program.params
    told = tuned[0].analysis
    assert told.startswith(
        f"The code of candidate {parent.key} with other numbers, chosen by the tuner: "
    )
    assert len(parent.program.params) <= 3  # of more, those are told that changed most
    assert all(
        (f"{name} {number(old)} to {number(tuned[0].program.params[name])}" in told)
        is (tuned[0].program.params[name] != old)
        for name, old in parent.program.params.items()
    )
    assert (1, tuned[0].number) not in {(ask.iteration, ask.slot) for ask in designer.asked}


def test_numbers_are_tuned_where_nobody_was_scored_at_the_last_rung():
    training = Training(steps=1000, seeds=2, packs=1, rungs=(0.5, 1.0), threshold=5.0)
    ledger, _, _ = run_job(a_spec(method="smith", iterations=2, candidates=4, training=training))
    tuned = [c for c in ledger.facts.iterations[1].candidates if c.operator == "parameters"]
    assert [{run.rung for run in c.runs} for c in tuned] == [{0}]


def tau_by_near(order):
    """Drafts pay stored episodes in the order of their fitness the better, the larger `near` is."""
    told = tuple(Trajectory(f"s{n % 2}", 0.9 - n % 2 * 0.8 - n / 100, 100) for n in range(20))
    fitness = np.array([one.fitness for one in told])

    def paid(program):
        near = program.params["near"]
        return np.where(np.arange(20) < 4 * near, fitness, -fitness)

    numbers = {
        key: ScreenNumbers(None, None, np.zeros((0, 1)), paid(p), paid(p))
        for key, p in order.programs.items()
    }
    return Screening(told, numbers)


def tuned_of(spec, **lab):
    ledger, _, _ = run_job(spec, **lab)
    return [c for c in ledger.facts.iterations[1].candidates if c.operator == "parameters"]


@pytest.mark.parametrize(("slots", "tuned"), [(4, 1), (6, 2), (9, 3)])
def test_larger_iterations_train_several_points_at_once(slots, tuned):
    found = tuned_of(a_spec(iterations=2, candidates=slots))
    assert len(found) == len({tuple(c.program.params.values()) for c in found}) == tuned
    assert {c.status for c in found} == {"trained"}
    assert {len(c.runs) for c in found} == {2}


def tuned_of_nine(numbers, screens):
    """Return `near` of the tuned candidates of an iteration of nine, and of every point proposed."""
    proposed = []

    def remember(trials, bounds, seed, count):
        points = propose_params(trials, bounds, seed, count)
        proposed.append([point["near"] for point in points])
        return points

    spec = a_spec(iterations=2, candidates=9, screens=screens)
    ledger = MemoryLedger(History(spec, status="running"))
    laboratory = PretendLaboratory(lambda arm, seed: 0.1 if arm == NATIVE else 0.9, numbers=numbers)
    tools = replace(toolbox(ScriptedDesigner(good), laboratory), tuner=remember)
    while not ledger.facts.iterations[1:] or not ledger.facts.iterations[1].proposed:
        carry_out(next_steps(ledger.facts)[0], ledger, tools, watch=lambda progress: None)
    assert len(proposed) == 3  # each slot for itself,
    assert proposed[0] == proposed[1] == proposed[2]  # and all of them the same eight
    assert len(proposed[0]) == 8
    found = [c for c in ledger.facts.iterations[1].candidates if c.operator == "parameters"]
    return [c.program.params["near"] for c in found], proposed[0]


def test_of_the_points_proposed_those_are_trained_that_order_stored_episodes_best():
    trained, proposed = tuned_of_nine(tau_by_near, ("order",))
    assert trained == sorted(proposed, key=lambda near: -min(np.ceil(4 * near), 20))[:3]


def test_no_slot_is_spent_on_numbers_that_pay_what_a_known_program_pays():
    def numbers(order):
        """Points below 1 pay like all known programs, the others each in its own way."""
        rows = {
            key: np.random.default_rng(int(1e4 * max(p.params["near"], 1.0))).normal(size=256)
            for key, p in order.programs.items()
        }
        none = np.zeros(0)
        said = {
            key: ScreenNumbers(row, row, np.zeros((0, 256)), none, none)
            for key, row in rows.items()
        }
        return Screening((), said)

    trained, proposed = tuned_of_nine(numbers, ("duplicate",))
    own = [near for near in proposed if near > 1.0]
    assert 0 < len(own) < len(proposed)
    copies = [near for near in proposed if near <= 1.0]
    assert trained == (own + copies)[:3]
