"""Statistics against their definitions and against numbers worked out by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.statistics import (
    bootstrap_interval,
    difference_interval,
    iqm,
    lower_bound,
    mean,
    permutation_p,
    probability_of_improvement,
    verdict,
)

samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([3.0], 3.0, id="one value"),
        pytest.param([0.0, 1.0, 2.0, 100.0], 1.5, id="four: the middle two"),
        pytest.param([0, 0, 1, 2, 3, 4, 100, 100], 2.5, id="eight: the middle four"),
        pytest.param(
            [0.0, 1.0, 5.0, 6.0, 7.0], 4.1, id="five: the ends of the middle count in part"
        ),
    ],
)
def test_iqm_by_hand(values, expected):
    assert iqm(values) == pytest.approx(expected)


@given(samples)
def test_iqm_lies_between_smallest_and_largest(values):
    assert min(values) - 1e-6 <= iqm(values) <= max(values) + 1e-6


def test_lower_bound_is_one_standard_error_below_the_mean():
    assert lower_bound([1.0, 3.0]) == pytest.approx(1.0)
    assert lower_bound([5.0]) == 5.0


@pytest.mark.slow  # thousands of intervals
def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        interval = bootstrap_interval(list(rng.normal(size=20)), seed=trial)
        hits += interval.low <= 0.0 <= interval.high
    assert 0.88 <= hits / 200 <= 1.0


def test_an_interval_can_be_made_again():
    values = [0.1, 0.5, 0.9]
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)


def test_improvement_counts_pairs_and_halves_ties():
    assert probability_of_improvement([1.0, 2.0], [0.0, 1.0]) == pytest.approx(3.5 / 4)


@given(samples, samples)
@settings(max_examples=50)
def test_improvement_of_x_over_y_and_of_y_over_x_add_up_to_one(x, y):
    total = probability_of_improvement(x, y) + probability_of_improvement(y, x)
    assert total == pytest.approx(1.0)


def test_the_permutation_test_by_hand():
    # Of the 20 ways to deal 6 distinct values into 3 and 3, two are as extreme as the perfect split.
    assert permutation_p(np.array([4.0, 5.0, 6.0]), np.array([1.0, 2.0, 3.0])) == 2 / 20


def test_an_arrangement_that_ties_with_the_observed_one_counts_at_20_000_as_well():
    x = [19515.35, 17075.23, 21352.62, 19499.36, 20322.39]
    y = [22320.23, 21701.01, 20381.09, 18207.01, 18302.63]
    cents = [round(100 * value) for value in [*x, *y]]  # whole numbers are added without rounding
    apart = [abs(2 * sum(picked) - sum(cents)) for picked in combinations(cents, 5)]
    ties = sum(one >= apart[0] for one in apart)
    assert permutation_p(np.array(x), np.array(y)) == ties / 252


@given(samples, samples, st.integers(-20, 20))
def test_the_permutation_test_does_not_know_the_unit_of_fitness(x, y, power):
    x, y = np.round(x[:5], 2), np.round(y[:5], 2)
    assert permutation_p(x * 2.0**power, y * 2.0**power) == permutation_p(x, y)


@pytest.mark.parametrize(
    ("designed", "native", "expected"),
    [
        ([0.8, 0.82, 0.85, 0.79, 0.9], [0.0, 0.0, 0.01, 0.0, 0.0], "better"),
        ([0.0, 0.0, 0.01, 0.0, 0.0], [0.8, 0.82, 0.85, 0.79, 0.9], "worse"),
        ([0.5, 0.6, 0.4, 0.5, 0.5], [0.5, 0.4, 0.6, 0.5, 0.5], "equal"),
        ([0.3] * 5, [0.3] * 5, "equal"),
        ([0.9], [0.1], "equal"),
    ],
    ids=["clearly better", "clearly worse", "overlapping", "identical", "one seed proves nothing"],
)
def test_verdicts(designed, native, expected):
    assert verdict(designed, native) == expected


def test_two_identical_rewards_are_rarely_called_better():
    rng = np.random.default_rng(1)
    draws = [verdict(list(rng.normal(size=5)), list(rng.normal(size=5))) for _ in range(400)]
    assert draws.count("better") / 400 <= 0.05


def test_the_luckiest_of_five_equals_is_rarely_called_better_either():
    rng = np.random.default_rng(2)
    better = 0
    for _ in range(400):
        native, *designs = (list(rng.normal(size=5)) for _ in range(6))
        best = max(designs, key=mean)
        better += verdict(best, native, chosen_from=5) == "better"
    assert better / 400 <= 0.05


def test_the_difference_has_an_interval_of_its_own():
    interval = difference_interval([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    assert (interval.mean, interval.low, interval.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("bad", [[], [float("nan")], [1.0, float("inf")]], ids=str)
def test_what_is_not_a_finite_sample_is_refused(bad):
    with pytest.raises(ValueError, match="expected finite numbers"):
        mean(bad)
