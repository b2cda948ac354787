"""Statistics of components and features on recorded episodes, with numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from core.envs import make_batch
from core.fields import lay_out
from core.records import Field, Fitness, Task
from core.sandbox.codec import Frame
from core.training.episodes import Episode, run_episodes
from core.training.examine import compute_terms, describe_terms, telling_episodes
from core.training.examining import read_report
from core.training.ranks import spearman
from core.training.runtime import load_program
from core.training.scorer import MOST_RECORDED_BYTES, MOST_RECORDED_ROWS, record
from core.training.transitions import (
    Recording,
    Transitions,
    load_recording,
    save_recording,
)
from tests.rim.laboratory_parts import MemoryArtifacts, program

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


# --- what is recorded -----------------------------------------------------------------------------


class Counted(gymnasium.Env):
    """Two steps; its choices are called 5, 6 and 7."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(3, start=5)

    def reset(self, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(action), False, False, {}


gymnasium.register("Counted-v0", entry_point=Counted, max_episode_steps=2)


def test_recorded_choices_count_from_zero_whatever_the_environment_calls_them():
    batch = make_batch(Task("counted", "Counted-v0", ""), 1, autoreset=False)
    episode = run_episodes(batch, lambda state: np.array([2]), [0], Fitness("return"), keep=[0])[0]
    assert episode.transitions.action.tolist() == [2, 2]
    assert episode.transitions.native.tolist() == [7.0, 7.0]


def an_episode(length, size=1, fitness=0.0):
    block = np.broadcast_to(np.float32(0), (length, size))  # takes no memory
    rows = Transitions(
        block,
        np.zeros(length, np.int64),
        block,
        np.ones(length, np.float32),
        np.zeros(length, np.bool_),
    )
    return Episode(fitness, 0.0, length, False, True, rows)


@pytest.mark.parametrize(
    ("lengths", "size", "kept"),
    [
        ([5000, 5000, 5000, 2000], 1, [5000, 5000, 2000]),
        ([1000, 1000, 1000], 4000, [1000, 1000]),
        ([10_000, 1000], 4000, [1000]),
        ([3000, 3000], 4000, [2096]),
        ([27_000], 1, [12_000]),
    ],
    ids=[
        "whole episodes within the rows",
        "whole episodes within the bytes",
        "one that is too long is left out",
        "if all are too long, the beginning of the first",
        "a single long one",
    ],
)
def test_a_recording_is_bounded_in_rows_and_bytes(lengths, size, kept):
    episodes = [an_episode(length, size, fitness=length) for length in lengths]
    found = record([episodes], [0])
    assert np.bincount(found.episode).tolist() == kept
    assert len(found.fitness) == len(kept)
    assert len(found.transitions) <= MOST_RECORDED_ROWS
    assert len(found.transitions) * found.transitions.row_bytes <= MOST_RECORDED_BYTES


# --- what the worker believes ---------------------------------------------------------------------

TERM = {
    "mean": 0,
    "std": 1.0,
    "low": -1.0,
    "high": 1.0,
    "share": 1.0,
    "saturated": 0.0,
    "zero": 0.5,
    "correlation": None,
}


def believed(**header):
    return read_report(Frame({"kind": "report", **header}), MemoryArtifacts())


@pytest.mark.parametrize(
    "forged",
    [
        {"episodes": {"best": 5}},
        {"episodes": {"best": "rows"}},
        {"episodes": {"best": [5, None, []]}},
        {"episodes": {"best": [{"a": {"deep": [[]]}, "b": None, "c": True, "d": ["x"]}]}},
        {"episodes": {"best": [{"a": 10**400, "b": [10**400], "c": float("inf")}]}},
        {"episodes": {"best": [{"a": [0.0] * 10_000}]}},
        {"episodes": 5},
        {"components": {"a": {**TERM, "mean": 10**400}}},
        {"components": {"a": {**TERM, "mean": True}}},
        {"components": {"a" * 5000: TERM}},
        {"components": {"a": 5}},
        {"features": [TERM]},
    ],
    ids=lambda forged: json.dumps(forged)[:50],
)
def test_a_forged_report_leaves_nothing_behind_and_hurts_nobody(forged):
    found = believed(**forged)
    assert not found.components
    assert not found.features
    assert not any(found.episodes.values())


def test_what_is_sound_in_a_report_is_kept_in_bounds():
    row = {"step": 1, "v": [1.0, 2], "word": "a\x1b[31m" + "b" * 5000, "large": 2**60, "no": {}}
    found = believed(
        components={"a": {**TERM, "correlation": "none"}}, episodes={"best": [row] * 1000}
    )
    assert dataclasses.asdict(found.components["a"])["correlation"] is None
    assert found.components["a"].mean == 0
    best = found.episodes["best"]
    assert len(best) == 64
    assert list(best[0]) == ["step", "v", "word", "large"]
    assert best[0]["v"] == [1.0, 2]
    assert best[0]["word"].isprintable()
    assert len(best[0]["word"]) <= 200
    assert isinstance(best[0]["large"], float)
