"""The tuner: other numbers for the same code, from stored trials alone."""

import math
import subprocess
import sys

import pytest

from core.seeding import MOST_SEED
from core.tuning import propose_params

BOUNDS = {"progress": (0.25, 4.0), "effort": (-0.4, -0.025), "offset": (-1.0, 1.0)}
START = {"progress": 1.0, "effort": -0.1, "offset": 0.0}


def fitness(params):
    """A quadratic in the box's own measure; best at progress 3, effort -0.2, offset 0.5."""
    return -(
        math.log(params["progress"] / 3.0) ** 2
        + math.log(params["effort"] / -0.2) ** 2
        + (params["offset"] - 0.5) ** 2
    )


def tune(count, seed, start=START, bounds=BOUNDS, measure=fitness):
    trials = [(start, measure(start))]
    for number in range(count):
        params = propose_params(trials, bounds, seed + number)[0]
        trials.append((params, measure(params)))
    return trials


def test_every_proposal_lies_inside_its_bounds():
    for params, _ in tune(40, seed=1):
        assert all(low <= params[name] <= high for name, (low, high) in BOUNDS.items())


def test_no_point_is_tried_twice():
    tried = [tuple(params.values()) for params, _ in tune(40, seed=2)]
    assert len(set(tried)) == len(tried)


def test_the_same_trials_and_seed_give_the_same_proposal():
    trials = tune(6, seed=3)
    assert propose_params(trials, BOUNDS, 9) == propose_params(trials, BOUNDS, 9)


def test_a_seed_may_be_as_large_as_any_job_has():
    trials = tune(2, seed=3)
    largest = 1_000 * MOST_SEED + 1
    assert propose_params(trials, BOUNDS, largest) != propose_params(trials, BOUNDS, largest + 1)


def test_two_slots_with_different_seeds_try_different_points():
    trials = tune(2, seed=3)
    assert propose_params(trials, BOUNDS, 9) != propose_params(trials, BOUNDS, 10)


@pytest.mark.slow  # three hundred trials
def test_a_quadratic_is_climbed():
    results = [max(value for _, value in tune(30, seed=100 * s)) for s in range(10)]
    assert sorted(results)[5] > 0.1 * fitness(START)  # nine tenths of the way, in the median


def test_a_dozen_trials_already_beat_the_start():
    better = [max(v for _, v in tune(12, seed=100 * s)[1:]) > fitness(START) for s in range(20)]
    assert sum(better) >= 18


def test_points_that_are_tried_together_differ():
    trials = tune(4, seed=5)
    chosen = [tuple(params.values()) for params in propose_params(trials, BOUNDS, 1, count=5)]
    tried = [tuple(params.values()) for params, _ in trials]
    assert len({*chosen, *tried}) == 10


def test_the_choice_is_the_same_in_another_process():
    trials = tune(6, seed=3)
    code = f"from core.tuning import *; print(propose_params({trials!r}, {BOUNDS!r}, 9, 2))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == repr(propose_params(trials, BOUNDS, 9, 2))


def test_a_flat_fitness_still_gives_new_points():
    tried = [
        params["w"] for params, _ in tune(25, 0, {"w": 1.0}, {"w": (0.25, 4.0)}, lambda _: 0.0)
    ]
    assert len(set(tried)) == len(tried)


def test_a_start_outside_its_bounds_is_taken_as_their_nearest_point():
    assert 1.0 <= propose_params([({"w": 9.0}, 0.0)], {"w": (1.0, 2.0)}, 0)[0]["w"] <= 2.0


@pytest.mark.parametrize(
    ("trials", "bounds"),
    [
        pytest.param([], BOUNDS, id="without a trial"),
        pytest.param([({}, 0.0)], {}, id="without a parameter"),
    ],
)
def test_there_is_nothing_to_tune(trials, bounds):
    with pytest.raises(ValueError, match="expected a trial and a parameter"):
        propose_params(trials, bounds, 0)
