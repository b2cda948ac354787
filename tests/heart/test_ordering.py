"""How well a reward orders trajectories, and how alike two rewards are."""

from __future__ import annotations

import numpy as np
import pytest

from core.ordering import best_order, canonical, likeness, order_of, tells_apart

RNG = np.random.default_rng(0)


def test_a_reward_that_pays_the_better_one_more_has_tau_one():
    found = order_of(np.array([1.0, 5.0, 9.0]), np.array([0.0, 0.5, 1.0]))
    assert (found.tau, found.accuracy, found.pairs, found.worst) == (1.0, 1.0, 3, None)


def test_a_reward_that_pays_the_worse_one_more_names_the_pair_that_is_wrong_by_most():
    found = order_of(np.array([9.0, 5.0, 1.0]), np.array([0.0, 0.5, 1.0]))
    assert (found.tau, found.accuracy) == (-1.0, 0.0)
    assert found.worst == (2, 0)


def test_equal_pay_counts_half_and_costs_tau():
    found = order_of(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.5, 1.0]))
    assert found.accuracy == pytest.approx(2.5 / 3)
    assert found.tau == pytest.approx(2 / np.sqrt(2 * 3))


def test_a_reward_that_pays_everybody_the_same_knows_nothing():
    found = order_of(np.zeros(10), np.linspace(0, 1, 10))
    assert (found.tau, found.accuracy) == (0.0, 0.5)


def test_pairs_that_lie_within_a_tenth_of_the_range_are_not_asked():
    found = order_of(np.array([1.0, 0.0, 9.0]), np.array([0.0, 0.05, 1.0]))
    assert (found.pairs, found.accuracy) == (2, 1.0)


def test_the_better_of_mean_and_sum_counts():
    fitness = np.array([0.2, 1.0])
    found, by = best_order(np.array([1.0, 1.0]), np.array([10.0, 100.0]), fitness)
    assert (found.accuracy, by) == (1.0, "discounted sum")


@pytest.mark.parametrize(
    ("fitness", "sources", "apart"),
    [
        pytest.param([0, 0, 0, 0], "aabb", False, id="nobody did anything"),
        pytest.param([0, 1, 0, 1], "aabb", False, id="within the noise"),
        pytest.param([0, 0.1, 0.9, 1], "aabb", True, id="beyond the noise"),
        pytest.param([0, 0.1, 0.9, 1], "aaaa", False, id="one source"),
        pytest.param([0, 1], "ab", False, id="an episode each"),
    ],
)
def test_a_store_tells_apart_only_beyond_the_noise_between_episodes(fitness, sources, apart):
    assert tells_apart(fitness, list(sources)) is apart


def test_likeness_is_pearson_whatever_the_scale():
    x = RNG.normal(size=200)
    assert likeness(x, 7 * x + 3) == pytest.approx(1.0)
    assert likeness(x, -x) == pytest.approx(-1.0)
    assert abs(likeness(x, RNG.normal(size=200))) < 0.2


@pytest.mark.parametrize(
    "sparse", [np.zeros(200), np.full(200, 3.0), np.eye(200)[0], 1e-12 * np.ones(200)]
)
def test_too_few_rows_say_nothing_of_likeness(sparse):
    assert likeness(sparse, sparse) is None


def test_the_canonical_form_of_shaping_with_the_learner_s_discount_is_constant():
    gamma, states, following = 0.99, RNG.normal(size=64), RNG.normal(size=64)

    def potential(x):
        return np.square(x) + 3 * x

    others = RNG.normal(size=500)
    paid = gamma * potential(following) - potential(states)
    from_next = gamma * potential(others).mean() - potential(following)
    from_state = gamma * potential(others).mean() - potential(states)
    assert canonical(paid, from_next, from_state, gamma).std() < 1e-9
