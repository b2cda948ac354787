"""Canaries and the repeat check: a scorer is believed only where it finds what is known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.ports import Progress
from core.records.spec import Training
from core.records.task import Field, Task
from core.sandbox import Sandbox
from core.training import canaries
from core.training.canaries import ScorerBroken, try_scorer
from core.training.laboratory import PRELOAD, Laboratory
from core.training.measuring import Measured, Score, measure
from core.training.repeating import Tape, rows_that_differ
from tests.rim.laboratory_parts import (
    CART_POLE,
    PENDULUM,
    MemoryArtifacts,
    an_order,
    ignore,
    linear_policy,
    program,
)

pytestmark = pytest.mark.slow  # a sandbox is started, and environments are built in it

HERE = Path(__file__).parent
CHANCE = Task("chance", "chance_env:Chance-v0", "Wait.", fields=(Field("x", "obs[0]"),))
HONEST = linear_policy([[0, 0, 0, 0], [0.1, 0.3, 3, 1]], [0, 0], inputs=4)
FEATURED = linear_policy([[0, 0, 0, 0, 0], [0, 0, 0, 0, 1]], [0, 0], inputs=5)
CLOCK = (
    "found = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close']\n"
    "time = found[0].__init__.__globals__['sys'].modules['time']\n"
    "def features(obs):\n    return {'lean': 3 * obs.angle + time.time_ns() % 97 - 48}\n"
)


@pytest.fixture(scope="module")
def laboratory():
    box = Sandbox(PRELOAD, import_paths=[HERE / "environments"])
    yield Laboratory(box, MemoryArtifacts())
    box.close()


def order_of(laboratory, task):
    return an_order(task, laboratory.preflight(task, Training(), 0, ignore))


def tried(laboratory, task):
    order = order_of(laboratory, task)
    return try_scorer(laboratory.sandbox, order, ignore, Progress("measuring", 0, 1))


@pytest.mark.parametrize("task", [CART_POLE, PENDULUM], ids=["choices", "vectors"])
def test_the_canaries_of_a_sound_scorer_pass_beside_a_cheat(laboratory, task):
    assert tried(laboratory, task) == "passed"


WITHOUT_A_WALL = """
import json
import sys

import core.training.episodes as episodes

returns = [1.0, 2.0]
exec(sys.argv[1], {})
assert json.dumps({"fitness": [1.0]}) == '{"fitness": [999.0], "was": [1.0]}'
assert returns == [999.0, 999.0]
assert episodes.run_episodes() == 999.0
"""


def test_the_planted_cheat_does_attack():
    """Without the wall, in a process of its own, which it spoils for good."""
    source = canaries._cheat(CART_POLE.fields).source
    subprocess.run([sys.executable, "-c", WITHOUT_A_WALL, source], check=True)


def test_an_environment_of_chance_is_called_unsteady(laboratory):
    assert tried(laboratory, CHANCE) == "unsteady"


def test_runs_in_an_environment_of_chance_are_marked_and_scored_all_the_same(laboratory):
    order = replace(order_of(laboratory, CHANCE), stop_steps=200, record=False)
    run = laboratory.train(order, ignore).runs[0]
    assert (run.status, run.nondeterministic, run.canaries) == ("scored", True, "unsteady")


def test_runs_in_a_sound_environment_are_not_marked(laboratory):
    order = replace(order_of(laboratory, CART_POLE), record=False)
    run = laboratory.train(order, ignore).runs[0]
    assert (run.status, run.nondeterministic, run.canaries) == ("scored", False, "passed")
    assert (run.isolation_level, run.isolation_waived) == (3, False)


def test_a_policy_whose_features_read_the_clock_is_found_out_and_its_neighbour_is_not(laboratory):
    order = order_of(laboratory, CART_POLE)
    progress = Progress("measure", 0, 1)
    blind = linear_policy([[0, 0, 0, 0, 0], [0.1, 0.3, 3, 1, 0]], [0, 0], inputs=5)
    measured = measure(
        laboratory.sandbox, order, program(CLOCK), [blind, FEATURED], (), ignore, progress
    )
    assert measured.unsteady == {1}


def test_sound_policies_live_the_same_steps_again(laboratory):
    order = order_of(laboratory, CART_POLE)
    progress = Progress("measure", 0, 1)
    measured = measure(laboratory.sandbox, order, None, [HONEST] * 3, (), ignore, progress)
    assert measured.unsteady == frozenset()


def test_the_scorer_finds_the_same_without_an_actor(laboratory):
    order = order_of(laboratory, CART_POLE)
    progress = Progress("measure", 0, 1)
    measured = measure(
        laboratory.sandbox, order, None, [HONEST, HONEST], (), ignore, progress, known=True
    )
    assert measured.known == measured.scores


def test_a_scorer_that_tells_another_fitness_than_the_known_one_is_broken(laboratory, monkeypatch):
    true, forged = (Score((value,), (value,), (1.0,), (0.0,)) for value in (10.0, 999.0))
    told = Measured((true, forged, true), None, known=(true, true, true))
    monkeypatch.setattr(canaries, "measure", lambda *args, **kwargs: told)
    with pytest.raises(ScorerBroken, match=r"expected \(10.0,\).*found fitness \(999.0,\)"):
        tried(laboratory, CART_POLE)


def test_rows_are_compared_only_while_their_episodes_last():
    steps = [(np.full((2, 1), t, np.float32), np.zeros(2, np.int64)) for t in range(3)]
    later = [(s.copy(), a.copy()) for s, a in steps]
    later[2][0][:] = 9
    assert rows_that_differ(Tape(steps), Tape(later), [2, 3]).tolist() == [False, True]
    assert rows_that_differ(Tape(steps), Tape(steps[:2]), [2, 3]).tolist() == [False, True]


def test_a_field_that_is_no_number_both_times_is_the_same():
    steps = [(np.array([[np.nan]], np.float32), np.zeros(1, np.int64))]
    assert not rows_that_differ(Tape(steps), Tape(steps), [1]).any()
