"""Statistics of components and features on recorded episodes, with numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.fields import lay_out
from core.records import Field
from core.training.examine import compute_terms, describe_terms, telling_episodes
from core.training.ranks import spearman
from core.training.runtime import load_program
from core.training.transitions import (
    Recording,
    Transitions,
    load_recording,
    save_recording,
)
from tests.rim.laboratory_parts import program

LAYOUT = lay_out((Field("x", "obs[0]"), Field("v", "obs[1:3]")), observation_size=3)


def a_recording() -> Recording:
    """Three episodes of two steps; x counts up, fitness falls."""
    x = np.arange(6, dtype=np.float32)
    block = np.stack([x, -x, x / 3], axis=1)
    rows = Transitions(
        state=block - 1,
        action=np.zeros(6, np.int64),
        next=block,
        native=np.ones(6, np.float32),
        terminated=np.array([0, 1, 0, 1, 0, 1], np.bool_),
    )
    return Recording(rows, np.repeat(np.arange(3), 2), np.array([3.0, 2.0, 1.0]))


@pytest.fixture
def terms():
    source = (
        "def features(obs):\n    return {'double': 2 * obs.x}\n"
        "def reward(obs, action, next_obs, params):\n"
        "    return {'x': next_obs.x, 'minus': -3 * next_obs.x, 'never': 0 * obs.x}\n"
    )
    return compute_terms(load_program(program(source), LAYOUT), a_recording())


def test_components_are_described_on_the_recorded_rows(terms):
    found = describe_terms(terms[0], a_recording(), shares=True)
    assert found["x"].mean == 2.5
    assert (found["x"].low, found["x"].high) == (0.0, 5.0)
    assert found["x"].std == pytest.approx(np.std(np.arange(6)))
    assert [found[name].share for name in ("x", "minus", "never")] == [0.25, 0.75, 0.0]
    assert found["x"].saturated == pytest.approx(2 / 6)
    assert found["never"].zero == 1.0


def test_the_sum_over_an_episode_is_set_against_its_fitness(terms):
    found = describe_terms(terms[0], a_recording(), shares=True)
    assert (found["x"].correlation, found["minus"].correlation) == (-1.0, 1.0)
    assert found["never"].correlation is None


def test_features_have_no_share(terms):
    found = describe_terms(terms[1], a_recording(), shares=False)
    assert list(found) == ["double"]
    assert (found["double"].mean, found["double"].share) == (5.0, 0.0)


def test_the_best_the_median_and_the_worst_episode_are_shown_row_by_row(terms):
    shown = telling_episodes(a_recording(), terms[0], LAYOUT)
    assert list(shown) == ["best", "median", "worst"]
    assert shown["worst"][-1] == {
        "step": 1,
        "x": 5.0,
        "v": [-5.0, 1.67],
        "action": 0,
        "native_reward": 1.0,
        "reward.x": 5.0,
        "reward.minus": -15.0,
        "reward.never": 0.0,
    }


def test_a_recording_goes_through_bytes_unchanged():
    before, after = a_recording(), load_recording(save_recording(a_recording()))
    np.testing.assert_array_equal(after.transitions.next, before.transitions.next)
    np.testing.assert_array_equal(after.episode, before.episode)
    assert after.transitions.terminated.dtype == np.bool_


@pytest.mark.parametrize(
    ("x", "y", "rho"),
    [
        ([1, 2, 3, 4], [1, 4, 9, 16], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 1, 2, 3], [1, 2, 2, 3], 0.8333333333333334),
        ([1, 1, 1], [1, 2, 3], None),
    ],
    ids=["a growing curve", "falling", "ties share their rank", "no variation, no answer"],
)
def test_spearman(x, y, rho):
    assert spearman(x, y) == (None if rho is None else pytest.approx(rho))
