"""Statistics of inputs: numbers worked out by hand, and shapes whose answer is known."""

import numpy as np
import pytest

from core.feature_statistics import (
    BINS,
    constant,
    fitness_signal,
    lipschitz,
    redundancy,
    relate,
    told_by,
)

ROWS = 64 * 200


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def x(rng):
    return rng.normal(3.0, 2.0, ROWS)


# --- what an input tells ----------------------------------------------------------------------


def test_two_bins_by_hand():
    # 64 rows make two bins: x = 0 pays 1, x = 2 pays 5.  Both deviate by 1 and 2 from their means.
    x, y = np.repeat([0.0, 2.0], 32), np.repeat([1.0, 5.0], 32)
    assert told_by(x, y) == (pytest.approx(1.0), pytest.approx(1.0))


def test_three_bins_by_hand():
    # Means of z are -a, 0, a with a = √1.5, means of y are -b, 2b, -b with b = 1/√2: the changes are
    # 3b over a twice.  Half of y's variance would be lost if one row in a bin went its own way.
    x, y = np.repeat([1.0, 2.0, 3.0], 32), np.repeat([0.0, 3.0, 0.0], 32)
    assert told_by(x, y) == (pytest.approx(3 / np.sqrt(2) / np.sqrt(1.5)), pytest.approx(1.0))


def test_the_variance_within_bins_is_not_explained():
    # Each bin holds 0 and 2 (or 2 and 4) in turn: variance 1 within, 1 between.
    x = np.repeat([0.0, 1.0], 32)
    y = np.tile([0.0, 2.0], 32) + np.repeat([0.0, 2.0], 32)
    assert told_by(x, y)[1] == pytest.approx(0.5)


def test_an_input_that_is_the_signal_explains_it_and_has_the_slope_of_one(x):
    smooth, explains = told_by(x, 5.0 * x - 2.0)
    assert explains > 0.98
    assert smooth == pytest.approx(1.0, abs=0.02)


def test_noise_explains_next_to_nothing(x, rng):
    _, explains = told_by(rng.normal(size=ROWS), x)
    assert explains < 0.02


def test_a_shape_that_correlation_does_not_see_is_explained(rng):
    x = rng.normal(size=ROWS)
    y = x**2
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.1
    assert told_by(x, y)[1] > 0.9


def test_an_input_that_folds_the_signal_is_rougher_than_one_that_follows_it(x):
    straight, folded = told_by(x, x), told_by(np.sin(40.0 * x), x)
    wavy = told_by(x, np.sin(8.0 * x))
    assert wavy[0] > 3 * straight[0]
    assert wavy[1] > 0.5
    assert folded[1] < 0.05


@pytest.mark.parametrize("unit", [1000.0, -1000.0, 1e-9])
def test_the_unit_of_an_input_changes_nothing(x, rng, unit):
    y = np.tanh(x) + 0.1 * rng.normal(size=ROWS)
    np.testing.assert_allclose(told_by(unit * x, y), told_by(x, y), rtol=1e-6)
    np.testing.assert_allclose(told_by(x, abs(unit) * y), told_by(x, y), rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(np.zeros(500), (None, 0.0), id="constant zero"),
        pytest.param(np.full(500, 0.1, np.float32), (None, 0.0), id="constant after rounding"),
    ],
)
def test_a_constant_input_explains_nothing(values, expected):
    assert told_by(values, np.arange(500.0)) == expected


def test_a_signal_that_does_not_vary_leaves_nothing_to_say():
    assert told_by(np.arange(500.0), np.full(500, 0.1)) == (None, None)


def test_few_rows_leave_nothing_to_say():
    assert told_by(np.arange(63.0), np.arange(63.0)) == (None, None)
    assert told_by(np.arange(64.0), np.arange(64.0))[1] == pytest.approx(0.75, abs=0.01)


def test_equal_values_share_a_bin():
    # 99 of 100 rows are 0; the rest are spread.  Nothing may depend on the order of the equal ones.
    x = np.concatenate([np.zeros(9900), np.linspace(1, 2, 100)])
    y = np.where(x > 0, 1.0, 0.0)
    back = np.arange(10_000)[::-1]
    assert told_by(x, y) == pytest.approx(told_by(x[back], y[back]))
    assert told_by(x, y)[1] == pytest.approx(1.0)


def test_an_input_of_two_values_has_two_bins(rng):
    x = (rng.random(ROWS) < 0.001).astype(float)
    smooth, explains = told_by(x, 2.0 * x)
    assert explains == pytest.approx(1.0)
    assert smooth == pytest.approx(1.0)


def test_one_jump_in_many_bins_does_not_decide():
    x = np.linspace(0, 1, ROWS)
    assert told_by(x, np.where(x > 0.5, 1.0, 0.0))[0] == 0.0
    assert BINS == 64


def test_constant_is_relative_to_the_mean():
    assert constant(np.array([1e6, 1e6 + 0.1]))
    assert not constant(np.array([1e-9, 2e-9]))


# --- redundancy -------------------------------------------------------------------------------


def test_an_input_that_repeats_another_is_redundant(x, rng):
    other = rng.normal(size=ROWS)
    found = redundancy(np.stack([x, -1000.0 * x + 5.0, other, np.full(ROWS, 0.1)], axis=1))
    np.testing.assert_allclose(found[:2], 1.0)
    assert found[2] < 0.05
    assert found[3] == 0.0


def test_correlation_by_hand():
    # (0, 1, 2) and (0, 2, 1): covariance 1, both sums of squares 2, so 1/2.
    found = redundancy(np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]]))
    assert found == pytest.approx([0.5, 0.5])


def test_a_single_input_repeats_nobody(x):
    assert redundancy(x[:, None]).tolist() == [0.0]


# --- LESR's constant --------------------------------------------------------------------------


def test_lesr_s_constant_by_hand():
    # Episode 0, sorted by x: rewards 0, 1, 3 at x = 0, 0.99, 2.99; slopes 1/1 and 2/2.01.
    # Episode 1: rewards 0 and 5 at x = 0 and 0.49: slope 10.  Each weighs 0.005, the first decays.
    x = np.array([[2.99], [0.0], [0.99], [0.0], [0.49]])
    native = np.array([3.0, 0.0, 1.0, 0.0, 5.0])
    found = lipschitz(x, native, np.array([0, 0, 0, 1, 1]))
    assert found == pytest.approx([0.995 * 0.005 * 1.0 + 0.005 * 10.0])


def test_lesr_s_constant_falls_when_an_input_is_rescaled_which_is_why_it_is_not_the_default(x):
    episode = np.repeat(np.arange(64), 200)
    inputs = np.stack([x, 1000.0 * x], axis=1)
    small, large = lipschitz(inputs, x, episode)
    assert large < small / 100


def test_an_episode_of_one_step_has_no_neighbours():
    assert lipschitz(np.ones((1, 2)), np.ones(1), np.zeros(1, int)).tolist() == [0.0, 0.0]


# --- the signal -------------------------------------------------------------------------------


def test_a_dense_fitness_is_its_own_signal(x):
    episode, ends = np.zeros(ROWS, int), np.zeros(ROWS, bool)
    np.testing.assert_array_equal(fitness_signal(x, episode, ends), x)


def test_of_a_sparse_fitness_what_is_still_to_come_is_looked_at():
    steps = np.zeros(60)
    steps[29] = 1.0  # the last step of the first episode, which ends there for good
    ends = np.zeros(60, bool)
    ends[[29, 59]] = True
    found = fitness_signal(steps, np.repeat([0, 1], 30), ends, discount=0.5)
    np.testing.assert_allclose(found[26:31], [0.125, 0.25, 0.5, 1.0, 0.0])


def test_an_episode_that_was_cut_is_taken_to_go_on_as_it_was():
    steps, ends = np.ones(8), np.array([0, 0, 0, 1, 0, 0, 0, 0], bool)
    found = fitness_signal(steps, np.repeat([0, 1], 4), ends, discount=0.5)
    np.testing.assert_allclose(found, [1.875, 1.75, 1.5, 1.0, 2.0, 2.0, 2.0, 2.0])


# --- all together -----------------------------------------------------------------------------


def test_every_input_gets_its_numbers(x, rng):
    inputs = np.stack([x, 1000.0 * x, rng.normal(size=ROWS)], axis=1).astype(np.float32)
    same, scaled, noise = relate(inputs, x, x, np.repeat(np.arange(64), 200))
    assert scaled.smooth == pytest.approx(same.smooth, rel=1e-4)
    assert scaled.explains == pytest.approx(same.explains, rel=1e-4)
    assert (same.redundant, scaled.redundant) == (pytest.approx(1.0), pytest.approx(1.0))
    assert noise.redundant < 0.05
    assert noise.explains < 0.02 < same.explains
    assert scaled.lipschitz < same.lipschitz
