"""Statistics of components and features on recorded episodes, with numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from core.envs import make_batch
from core.fields import lay_out
from core.records.task import Field, Fitness, Task
from core.sandbox.codec import Frame
from core.training.action_space import ActionSpace
from core.training.episodes import Episode, run_episodes
from core.training.examine import (
    Examined,
    compute_terms,
    describe_terms,
    judge_inputs,
    telling_episodes,
    worth_of_episodes,
)
from core.training.examining import read_report
from core.training.inputs import dimensions, shares, steps_of
from core.training.numpy_policy import Policies
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


# --- what a policy sees ---------------------------------------------------------------------------

CHOICES = ActionSpace(True, 2, np.empty(0, np.float32), np.empty(0, np.float32))
VECTORS = ActionSpace(False, 2, np.float32([-1, -4]), np.float32([1, 4]))
SEEN = lay_out(
    (
        Field("all_of_it", "obs[0:3]"),
        Field("x", "obs[1]"),
        Field("mark", "obs[2]", visible=("metric",)),
        Field("speed", "sim.qvel[0]", visible=("reward",)),
        Field("gain", "info.gain", visible=("metric",)),
    ),
    observation_size=3,
)


def a_policy(*sizes, space=CHOICES, seed=0, **how):
    """A policy drawn at random; what it sees is shifted and scaled."""
    rng = np.random.default_rng(seed)
    layers = tuple(
        (
            rng.normal(size=(1, before, after)).astype(np.float32),
            rng.normal(size=(1, 1, after)).astype(np.float32),
        )
        for before, after in itertools.pairwise((*sizes, 2))
    )
    shift = rng.normal(size=(1, 1, sizes[0])).astype(np.float32)
    scale = rng.uniform(0.5, 2.0, (1, 1, sizes[0])).astype(np.float32)
    return Policies(layers, shift, scale, space, **how)


def outputs_of(policy, rows):
    """The outputs [B, 2] as `slopes` means them, in double precision."""
    x = np.clip((rows - policy.mean[0]) * policy.scale[0], -10.0, 10.0).astype(np.float64)
    for weight, bias in policy.layers[:-1]:
        x = x @ weight[0].astype(np.float64) + bias[0]
        x = np.maximum(x, 0.0) if policy.relu else np.tanh(x)
    weight, bias = policy.layers[-1]
    x = x @ weight[0].astype(np.float64) + bias[0]
    if policy.space.discrete:
        return x - x.mean(-1, keepdims=True)
    return np.tanh(x) if policy.squashed else x / ((policy.space.high - policy.space.low) / 2)


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(a_policy(4), id="linear"),
        pytest.param(a_policy(4, 8, 6), id="choices, tanh"),
        pytest.param(a_policy(4, 8, relu=True), id="choices, ReLU"),
        pytest.param(a_policy(4, 8, space=VECTORS), id="vectors"),
        pytest.param(a_policy(4, 8, 8, space=VECTORS, relu=True, squashed=True), id="squashed"),
    ],
)
def test_slopes_are_those_that_a_small_step_shows(policy):
    rows = np.random.default_rng(1).normal(size=(200, 4))
    rows[:20, 2] = 100.0  # beyond the clip, where nothing reacts
    step = 1e-6 * np.eye(4)
    measured = [
        np.abs(outputs_of(policy, rows + own) - outputs_of(policy, rows - own)).mean() / 2e-6
        for own in step
    ]
    np.testing.assert_allclose(policy.slopes(rows.astype(np.float32)[None])[0], measured, rtol=1e-2)


def test_shares_do_not_depend_on_the_unit_and_sum_to_one():
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    unit = np.float32([1, 1000, 0.001])
    one = a_policy(3, 8)
    other = dataclasses.replace(one, mean=one.mean * unit, scale=one.scale / unit)
    np.testing.assert_allclose(shares([other], rows * unit), shares([one], rows), rtol=1e-4)
    both = shares([one, a_policy(3, 8, seed=1)], rows)
    assert sum(both) == pytest.approx(1.0)
    assert both != shares([one], rows)


def test_an_input_to_which_the_policy_is_blind_is_not_used():
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    policy = a_policy(3, 8)
    policy.layers[0][0][0, 1] = 0.0
    found = shares([policy], rows)
    assert found[1] == 0.0
    assert min(found[0], found[2]) > 0.1


def test_without_a_policy_and_without_any_reaction_nothing_is_said():
    rows, policy = np.ones((10, 3), np.float32), a_policy(3, 8)
    assert shares([], rows) == [None, None, None]
    assert shares([policy], rows) == [None, None, None]  # no row differs from another


def test_a_dimension_is_called_as_the_field_that_says_most_of_it():
    assert dimensions(SEEN) == {"all_of_it[0]": 0, "x": 1, "all_of_it[2]": 2}
    assert dimensions(LAYOUT) == {"x": 0, "v[0]": 1, "v[1]": 2}
    hidden = lay_out((Field("mark", "obs[0]", visible=("metric",)),), observation_size=1)
    assert not dimensions(hidden)


def long_recording(episodes=8, steps=50):
    """Two dimensions, of which the first is what is paid, and a gain that only the metric sees."""
    rng = np.random.default_rng(0)
    count = episodes * steps
    block = rng.normal(size=(count, 5)).astype(np.float32)
    ends = np.arange(1, count + 1) % steps == 0
    rows = Transitions(block[:, :4], np.zeros(count, np.int64), block, block[:, 0], ends)
    return Recording(rows, np.repeat(np.arange(episodes), steps), rng.normal(size=episodes))


@pytest.mark.parametrize(
    ("fitness", "expected"),
    [
        (Fitness("return"), lambda block: block[:, 0]),
        (Fitness("statistic", field="gain", over="sum"), lambda block: block[:, 4]),
        (Fitness("share", where="x > 0", horizon=10), lambda block: (block[:, 1] > 0) / 10),
    ],
    ids=["return", "what only the metric sees", "share"],
)
def test_the_fitness_of_every_step_is_read_from_the_recording(fitness, expected):
    recording = long_recording()
    found = steps_of(Examined(SEEN, recording, fitness))
    np.testing.assert_allclose(found, expected(recording.transitions.next))


def test_features_and_dimensions_are_judged_together():
    recording = long_recording()
    block = recording.transitions.next
    features = {"copy": 1000 * block[:, 0], "still": np.zeros(len(block), np.float32)}
    policy = a_policy(5, 8)
    found = judge_inputs(Examined(SEEN, recording, Fitness("return"), [policy]), features)
    assert list(found.inputs) == ["all_of_it[0]", "x", "all_of_it[2]"]
    paid, copy, still = (
        found.inputs["all_of_it[0]"],
        found.features["copy"],
        found.features["still"],
    )
    assert copy.explains == pytest.approx(paid.explains)
    assert copy.smooth == pytest.approx(paid.smooth, rel=1e-3)
    assert min(copy.redundant, paid.redundant) == pytest.approx(1.0)
    assert paid.explains > 0.9 > 0.3 > found.inputs["x"].explains
    assert (still.smooth, still.explains, still.redundant, still.used) == (None, 0.0, 0.0, 0.0)
    everything = (*found.inputs.values(), *found.features.values())
    assert sum(term.used for term in everything) == pytest.approx(1.0)
    assert copy.mean == pytest.approx(1000 * paid.mean, rel=1e-4)


def test_of_many_dimensions_those_are_told_that_the_policy_uses_most():
    recording = long_recording()
    wide = np.random.default_rng(0).normal(size=(400, 100)).astype(np.float32)
    layout = lay_out((Field("v", "obs[0:100]"),), observation_size=100)
    rows = dataclasses.replace(recording.transitions, state=wide, next=wide)
    policy = a_policy(100, 8)
    policy.layers[0][0][0, :40] = 0.0
    examined = Examined(layout, dataclasses.replace(recording, transitions=rows), Fitness("return"))
    found = judge_inputs(dataclasses.replace(examined, policies=[policy]), {}).inputs
    assert len(found) == 64
    assert {f"v[{i}]" for i in range(40, 100)} <= set(found)


# --- episodes and bytes ---------------------------------------------------------------------------


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


def test_beside_scattered_rows_a_passage_is_shown_in_which_the_pay_changes_most():
    count = 100
    block = np.zeros((count, 3), np.float32)
    native = np.zeros(count, np.float32)
    rows = Transitions(block, np.zeros(count, np.int64), block, native, native > 0)
    long = Recording(rows, np.zeros(count, np.int64), np.ones(1))
    paid = np.where(np.arange(count) >= 43, 1.0, 0.0).astype(np.float32)
    steps = [row["step"] for row in telling_episodes(long, {"x": paid}, LAYOUT)["best"]]
    assert steps == [0, 16, 33, 39, 40, 41, 42, 43, 50, 66, 82, 99]


def test_the_shown_episodes_say_what_they_were_worth_and_each_part_of_it():
    parts = (
        Fitness("statistic", field="x", over="sum"),
        Fitness("statistic", field="x", over="max"),
    )
    least = Examined(LAYOUT, a_recording(), Fitness("least", parts=parts))
    assert worth_of_episodes(least) == {
        "best": {"fitness": 3.0, "parts": [1.0, 1.0]},
        "median": {"fitness": 2.0, "parts": [5.0, 3.0]},
        "worst": {"fitness": 1.0, "parts": [9.0, 5.0]},
    }
    whole = Examined(LAYOUT, a_recording(), Fitness("return"))
    assert worth_of_episodes(whole)["best"] == {"fitness": 3.0}


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
    return read_report(Frame({"kind": "report", **header}), MemoryArtifacts(), {"x", "v[0]"})


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
        {"inputs": {"y": TERM}},
        {"inputs": {"v[1]": TERM}},
        {"inputs": {"x": {**TERM, "std": "wide"}}},
    ],
    ids=lambda forged: json.dumps(forged)[:50],
)
def test_a_forged_report_leaves_nothing_behind_and_hurts_nobody(forged):
    found = believed(**forged)
    assert not found.components
    assert not found.features
    assert not found.inputs
    assert not any(found.episodes.values())


def test_statistics_of_inputs_are_believed_one_by_one():
    forged = {"smooth": 1.5, "explains": float("nan"), "redundant": "1", "used": 0.25, "n": 1}
    found = believed(inputs={"v[0]": {**TERM, **forged}, "x": TERM}, features={"f": TERM})
    assert list(found.inputs) == ["v[0]", "x"]
    term = found.inputs["v[0]"]
    assert (term.smooth, term.used) == (1.5, 0.25)
    assert (term.explains, term.redundant, term.lipschitz) == (None, None, None)
    assert found.features["f"].smooth is None


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


@pytest.mark.parametrize(("size", "kept"), [(0, False), (100, True), (101, False)])
def test_evidence_is_stored_only_as_large_as_it_can_be(size, kept):
    """Else a program could fill the disk with it."""
    artifacts = MemoryArtifacts()
    frame = Frame({"kind": "report"}, {"evidence": bytes(size)})
    found = read_report(frame, artifacts, most=100)
    assert (found.transitions is not None) == kept == bool(artifacts.stored)
