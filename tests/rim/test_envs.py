"""Environments as batches: the fast rows are the slow rows, and what cannot be used is refused."""

from __future__ import annotations

import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from core.envs import describe_env, make_batch
from core.envs.gymnasium_rows import GymnasiumRows
from core.envs.spaces import read_action_space, read_observation_space
from core.errors import EnvironmentUnusable, InvalidInput
from core.records.task import Field, Task
from core.tasks import find_task

CLASSIC = [
    "CartPole-v0",
    "CartPole-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "Acrobot-v1",
]
TERMINATED = Field("terminated", "terminated", visible=("reward",))


def task(environment, *fields, **options):
    return Task("a-task", environment, "", fields=fields, **options)


def reset_and_step(batch):
    batch.reset([0])
    return batch.step(np.array([0]))


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        pytest.param("cartpole", {n: (-0.05, 0.05) for n in range(4)}, id="cartpole"),
        pytest.param("acrobot", {4: (-0.1, 0.1), 5: (-0.1, 0.1), 1: (-0.1, 0.1)}, id="acrobot"),
        pytest.param("pendulum", {0: (-1.0, 1.0), 2: (-1.0, 1.0)}, id="pendulum"),
        pytest.param("mountaincar", {0: (-0.6, -0.4), 1: (0.0, 0.0)}, id="mountaincar"),
        pytest.param(
            "mountaincar-continuous", {0: (-0.6, -0.4), 1: (0.0, 0.0)}, id="mountaincar-continuous"
        ),
        pytest.param(
            "inverted-pendulum", {n: (-0.01, 0.01) for n in range(4)}, id="inverted-pendulum"
        ),
    ],
)
def test_episodes_start_where_the_catalogue_says(name, entries):
    known = find_task(name)
    starts = make_batch(known, 200).reset(list(range(200)))
    for place, (low, high) in entries.items():
        found = starts[:, place]
        assert low - 1e-6 <= found.min()
        assert found.max() <= high + 1e-6
        assert found.max() - found.min() >= 0.9 * (high - low)
    assert "Episodes start" in known.actions


def draw_actions(batch, rng):
    if batch.action["kind"] == "discrete":
        return rng.integers(0, batch.action["n"], batch.rows)
    shape = (batch.rows, batch.action["size"])
    return rng.uniform(batch.action["low"], batch.action["high"], shape).astype(np.float32)


class Toy(gymnasium.Env):
    """Counts its steps; spaces, infos and accidents are options."""

    def __init__(self, observation=None, action=None, infos=None, breaks=None, size=2):
        self.observation_space = observation or spaces.Box(-1, 1, (2,))
        self.action_space = action or spaces.Discrete(2)
        self.infos = infos or {}
        self.breaks = breaks
        self.size = size
        self.state = np.zeros(3)
        self.received = []

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array([seed or 0, 0, 0])
        if self.breaks == "reset":
            raise KeyError("no such map")
        return np.zeros(self.size, np.float32), {}

    def step(self, action):
        self.received.append(action)
        self.state = self.state + np.array([0, 1, 0])
        if self.breaks == "step":
            raise RuntimeError("the motor is on fire")
        obs = np.full(self.size, np.nan if self.breaks == "nan" else 0.5, np.float32)
        done = self.state[1] >= 3
        return obs, 1.0, bool(done), False, dict(self.infos)


gymnasium.register("Toy-v0", entry_point=Toy)


# --- the fast rows are the slow rows --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("environment", CLASSIC)
def test_numpy_rows_live_the_same_episodes_as_gymnasium_s_own(environment):
    fields = (Field("inner", "sim.state[0:2]"), TERMINATED)
    fast = make_batch(task(environment, *fields), 16)
    slow = GymnasiumRows(task(environment, *fields), fast.layout, 16)
    assert (fast.adapter, fast.action) == ("numpy", slow.action)
    rng, seeds = np.random.default_rng(0), list(range(16))
    np.testing.assert_allclose(fast.reset(seeds), slow.reset(seeds), atol=1e-6)
    ended = 0
    for _ in range(520):
        action = draw_actions(fast, rng)
        one, other = fast.step(action), slow.step(action)
        np.testing.assert_allclose(one.next_block, other.next_block, atol=1e-5)
        np.testing.assert_allclose(one.state, other.state, atol=1e-5)
        np.testing.assert_allclose(one.native, other.native, atol=1e-5)
        np.testing.assert_array_equal(one.terminated, other.terminated)
        np.testing.assert_array_equal(one.truncated, other.truncated)
        ended += int((one.terminated | one.truncated).sum())
    assert ended >= (300 if "CartPole" in environment else 0)


def full_throttle(environment):
    """Push in the direction of motion: the one policy that solves these hills."""
    fast = make_batch(task(environment), 8)
    slow = GymnasiumRows(task(environment), fast.layout, 8)
    state, _ = fast.reset(range(8)), slow.reset(range(8))
    reached = 0
    for _ in range(300):
        sign = np.where(state[:, 1] >= 0, 1, -1)
        discrete = fast.action["kind"] == "discrete"
        action = sign + 1 if discrete else sign[:, None].astype(np.float32)
        one, other = fast.step(action), slow.step(action)
        np.testing.assert_allclose(one.native, other.native, atol=1e-5)
        np.testing.assert_array_equal(one.terminated, other.terminated)
        reached += int(one.terminated.sum())
        state = one.state
    return reached


@pytest.mark.parametrize("environment", ["MountainCar-v0", "MountainCarContinuous-v0"])
def test_numpy_mountain_cars_arrive_when_gymnasium_s_do(environment):
    assert full_throttle(environment) >= 8


@pytest.mark.slow
def test_cart_pole_is_bit_equal_over_hundreds_of_episodes():
    fast = make_batch(task("CartPole-v1"), 64)
    slow = GymnasiumRows(task("CartPole-v1"), fast.layout, 64)
    rng, episodes = np.random.default_rng(1), 0
    np.testing.assert_array_equal(fast.reset(range(64)), slow.reset(range(64)))
    for _ in range(600):
        action = draw_actions(fast, rng)
        one, other = fast.step(action), slow.step(action)
        np.testing.assert_array_equal(one.next_block, other.next_block)
        np.testing.assert_array_equal(one.state, other.state)
        episodes += int(one.terminated.sum())
    assert episodes > 1000


@pytest.mark.parametrize(
    ("changed", "adapter"),
    [
        ({}, "numpy"),
        ({"max_episode_steps": 7}, "numpy"),
        ({"env_kwargs": {"sutton_barto_reward": True}}, "gymnasium"),
        ({"fields": (Field("a", "sim.state[0]"),)}, "numpy"),
        ({"fields": (Field("a", "sim.length[0]"),)}, "gymnasium"),
    ],
    ids=["plain", "a shorter limit", "with options", "its inner state", "another attribute"],
)
def test_the_fast_rows_are_taken_only_where_they_are_true(changed, adapter):
    the_task = replace(task("CartPole-v1"), **changed)
    batch = make_batch(the_task, 2)
    assert batch.adapter == describe_env(the_task).adapter == adapter
    batch.reset([0, 1])
    batch.step(np.array([0, 1]))


# --- seeds and resets -----------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ["CartPole-v1", "Toy-v0"])
def test_a_row_s_life_depends_on_its_own_seed_alone(environment):
    wide, narrow = (make_batch(task(environment), rows) for rows in (3, 1))
    first, alone = wide.reset([5, 6, 7]), narrow.reset([7])
    np.testing.assert_array_equal(first[2], alone[0])
    for step in range(80):
        choice = step % 2
        one, other = wide.step(np.full(3, choice)), narrow.step(np.full(1, choice))
        np.testing.assert_array_equal(one.state[2], other.state[0])


def test_an_ended_row_starts_anew_in_the_same_step_and_its_last_state_is_kept():
    batch = make_batch(task("CartPole-v1", Field("x", "obs[0]"), TERMINATED), 2)
    batch.reset([0, 1])
    while True:
        step = batch.step(np.ones(2, np.int64))
        if step.terminated[0]:
            break
    assert abs(step.next_block[0, 2]) > 0.2
    assert step.next_block[0, 4] == 1.0
    assert np.abs(step.state[0]).max() <= 0.05
    assert step.state.shape == (2, 4)


def test_a_time_limit_truncates_without_terminating():
    batch = make_batch(replace(task("Pendulum-v1"), max_episode_steps=3), 2)
    batch.reset([0, 1])
    flags = [batch.step(np.zeros((2, 1), np.float32)) for _ in range(3)]
    assert [bool(step.truncated.all()) for step in flags] == [False, False, True]
    assert not flags[-1].terminated.any()


@pytest.mark.parametrize("environment", ["CartPole-v1", "Toy-v0"])
def test_without_autoreset_an_ended_row_stays_frozen(environment):
    batch = make_batch(task(environment), 2, autoreset=False)
    batch.reset([0, 1])
    steps = [batch.step(np.ones(2, np.int64)) for _ in range(40)]
    ended = next(i for i, step in enumerate(steps) if step.terminated[0])
    for step in steps[ended + 1 :]:
        np.testing.assert_array_equal(step.next_block[0], steps[ended].next_block[0])
        assert step.native[0] == 0.0
        assert step.terminated[0]
    assert not steps[ended - 1].terminated[0]
    assert batch.reset([0, 1]).shape == (2, batch.layout.state_size)


# --- spaces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "obs", "flat"),
    [
        (spaces.Box(-1, 1, (2,), np.float64), np.array([0.5, -1.0]), [0.5, -1.0]),
        (spaces.Box(0, 9, (2, 2), np.int64), np.array([[1, 2], [3, 4]]), [1, 2, 3, 4]),
        (spaces.Discrete(3, start=-1), 0, [0, 1, 0]),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 2]), [0, 1, 0, 0, 1]),
        (spaces.MultiBinary(3), np.array([1, 0, 1]), [1, 0, 1]),
        (spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 1, (1,)))), (1, [0.5]), [0, 1, 0.5]),
        (
            spaces.Dict({"goal": spaces.Box(0, 1, (1,)), "at": spaces.Discrete(2)}),
            {"goal": np.array([0.25]), "at": 0},
            [1, 0, 0.25],
        ),
    ],
    ids=["float64", "integers", "one-hot", "one-hots", "bits", "a tuple", "keys in order"],
)
def test_observations_become_one_flat_vector(space, obs, flat):
    observed = read_observation_space(space)
    found = observed.flatten(obs)
    assert found.dtype == np.float32
    assert (observed.size, found.tolist()) == (len(flat), flat)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), "image"),
        (spaces.Box(0, 255, (8, 8), np.uint8), "image"),
        (spaces.Box(0, 1, (8, 8, 3), np.float32), "image"),
        (spaces.Text(5), "Text"),
        (spaces.Sequence(spaces.Discrete(2)), "Sequence"),
        (spaces.Dict({"camera": spaces.Box(0, 255, (8, 8, 3), np.uint8)}), "camera"),
    ],
    ids=["image", "grey image", "image of floats", "text", "sequence", "image under a key"],
)
def test_other_observations_are_refused_by_name(space, words):
    with pytest.raises(EnvironmentUnusable, match=words):
        read_observation_space(space)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "unbounded"),
        (spaces.Box(-1, 1, (2, 2)), "rank 1"),
        (spaces.MultiDiscrete([2, 2]), "MultiDiscrete"),
        (spaces.Dict({"a": spaces.Discrete(2)}), "Dict"),
    ],
    ids=["unbounded", "a matrix", "several choices", "keys"],
)
def test_other_actions_are_refused_by_name(space, words):
    with pytest.raises(EnvironmentUnusable, match=words):
        read_action_space(space)


def test_choices_are_counted_from_zero_whatever_the_environment_calls_them():
    the_task = replace(task("Toy-v0"), env_kwargs={"action": spaces.Discrete(3, start=5)})
    batch = make_batch(the_task, 1)
    batch.reset([0])
    batch.step(np.array([2]))
    assert batch.action == {"kind": "discrete", "n": 3, "start": 5}
    assert batch._envs[0].unwrapped.received == [7]


def test_continuous_actions_reach_the_environment_in_its_own_type_and_bounds():
    space = spaces.Box(-2, 2, (2,), np.float64)
    batch = make_batch(replace(task("Toy-v0"), env_kwargs={"action": space}), 1)
    batch.reset([0])
    batch.step(np.array([[9.0, 0.5]], np.float32))
    received = batch._envs[0].unwrapped.received[0]
    assert received.dtype == np.float64
    assert received.tolist() == [2.0, 0.5]


def test_fields_of_an_undescribed_environment_are_derived():
    facts = describe_env(task("CartPole-v1"))
    assert [f.name for f in facts.fields] == ["obs_0", "obs_1", "obs_2", "obs_3"]
    assert facts.fields[1].high is None
    assert facts.fields[0].high == pytest.approx(4.8)
    assert facts.max_episode_steps == 500


def test_keys_of_an_undescribed_dictionary_become_fields():
    space = spaces.Dict({"goal": spaces.Box(0, 1, (2,)), "at": spaces.Box(0, 1, (1,))})
    facts = describe_env(replace(task("Toy-v0"), env_kwargs={"observation": space}))
    assert [(f.name, f.source) for f in facts.fields] == [
        ("at", "obs.at[0]"),
        ("goal", "obs.goal[0:2]"),
    ]
    assert facts.key_offsets == {"at": 0, "goal": 1}


# --- what is read besides the observation ---------------------------------------------------------


def test_simulator_fields_are_in_both_states():
    fields = (Field("seed", "sim.state[0]"), Field("steps", "sim.state[1]"))
    batch = make_batch(task("Toy-v0", *fields), 1)
    state = batch.reset([42])
    step = batch.step(np.array([0]))
    assert state[0, 2:].tolist() == [42, 0]
    assert step.next_block[0, 2:].tolist() == [42, 1]


def test_info_values_are_in_the_next_state_alone():
    field = Field("won", "info.is_success")
    the_task = replace(task("Toy-v0", field), env_kwargs={"infos": {"is_success": True}})
    batch = make_batch(the_task, 1)
    assert batch.reset([0]).shape == (1, 2)
    assert batch.step(np.array([0])).next_block[0, 2] == 1.0


@pytest.mark.parametrize(
    ("field", "options", "words"),
    [
        (Field("a", "info.won"), {"infos": {"lost": 1}}, r"'won'.*\['lost'\]"),
        (Field("a", "info.won"), {"infos": {"won": "yes"}}, "expected numbers"),
        (Field("a", "info.won[4]"), {"infos": {"won": [1, 2]}}, "at least 5"),
        (Field("a", "sim.qpos[0]"), {}, "no array 'qpos'"),
        (Field("a", "obs[0]"), {"breaks": "step"}, "RuntimeError: the motor is on fire"),
        (Field("a", "obs[0]"), {"breaks": "reset"}, "KeyError: 'no such map'"),
        (Field("a", "obs[0]"), {"breaks": "nan"}, "NaN"),
        (Field("a", "obs[0]"), {"size": 3}, "3 numbers"),
    ],
    ids=[
        "a missing key",
        "text",
        "too short",
        "no such array",
        "a step that raises",
        "a reset that raises",
        "NaN",
        "not its space",
    ],
)
def test_an_environment_that_breaks_its_word_is_unusable(field, options, words):
    batch = make_batch(replace(task("Toy-v0", field), env_kwargs=options), 1)
    with pytest.raises(EnvironmentUnusable, match=words):
        reset_and_step(batch)


def test_a_field_outside_the_observation_is_invalid():
    with pytest.raises(InvalidInput, match="below the observation's length 4"):
        describe_env(task("CartPole-v1", Field("a", "obs[9]")))


# --- building -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ("CartPoole-v1", "no environment 'CartPoole-v1'"),
        ("CartPole-v77", "no environment 'CartPole-v77'"),
        ("no_such_module_at_all:Env-v0", "environment_paths"),
        ("ALE/Pong-v5", "pip install ale-py"),
        ("highway-v0", "pip install highway-env"),
    ],
)
def test_what_cannot_be_built_says_what_to_do(environment, words):
    with pytest.raises(EnvironmentUnusable, match=words):
        describe_env(task(environment))


def test_a_missing_gymnasium_robotics_is_an_extra_of_ours(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(EnvironmentUnusable, match=r'pip install "rewardsmith\[robotics\]"'):
        describe_env(task("FetchTea-v4"))


def test_options_that_an_environment_does_not_know_are_its_own_words():
    with pytest.raises(EnvironmentUnusable, match="sugar"):
        describe_env(replace(task("CartPole-v1"), env_kwargs={"sugar": 1}))


def test_an_outdated_version_is_a_warning():
    assert any("out of date" in text for text in describe_env(task("CartPole-v0")).warnings)


@pytest.mark.slow
def test_mujoco_arrays_are_read_flattened():
    field = Field("torso", "sim.xpos[3:6]", "m")
    batch = make_batch(task("Hopper-v5", field, Field("speed", "info.x_velocity")), 2)
    state = batch.reset([0, 1])
    step = batch.step(np.zeros((2, 3), np.float32))
    assert state[0, 11:14] == pytest.approx(batch_position(0), abs=0.02)
    assert np.isfinite(step.next_block).all()


def batch_position(seed):
    env = gymnasium.make("Hopper-v5")
    env.reset(seed=seed)
    position = env.unwrapped.data.xpos[1].copy()
    env.close()
    return position
