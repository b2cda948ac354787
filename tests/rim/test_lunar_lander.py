"""The lean step of LunarLander gives gymnasium's own numbers, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from core.envs import make_batch
from core.envs.building import build
from core.envs.lunar_lander import lander_step
from core.envs.stepping import stepper
from core.errors import EnvironmentUnusable
from core.records.task import Field, Task

pytest.importorskip("Box2D", reason='needs pip install "gymnasium[box2d]"')

LANDERS = ["LunarLander-v3", "LunarLanderContinuous-v3"]


def task(environment, *fields, **options):
    return Task("a-task", environment, "", fields=fields, **options)


def original(environment):
    return gymnasium.make(environment, disable_env_checker=True)


def live(lean, whole, act, seed):
    """Live one episode in both, compare every number, and return its length and how it ended."""
    obs, _ = whole.reset(seed=seed)
    np.testing.assert_array_equal(lean.reset(seed=seed)[0], obs)
    step, steps = stepper(lean), 0
    while True:
        action = act(obs)
        one, other = step(action), whole.step(action)
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]
        obs, steps = other[0], steps + 1
        if other[2] or other[3]:
            return steps, "truncated" if other[3] else float(other[1])


@pytest.mark.slow
@pytest.mark.parametrize("environment", LANDERS)
def test_lean_landers_live_the_same_episodes_as_gymnasium_s_own(environment):
    from gymnasium.envs.box2d.lunar_lander import heuristic

    lean, whole = original(environment), original(environment)
    whole.action_space.seed(0)
    lived = [live(lean, whole, lambda obs: heuristic(whole, obs), seed) for seed in range(40)]
    lived += [live(lean, whole, lambda _: whole.action_space.sample(), s) for s in range(160)]
    assert sum(steps for steps, _ in lived) > 15_000
    assert {end for _, end in lived} >= {100.0, -100.0}


@pytest.mark.parametrize("environment", LANDERS)
def test_the_rows_of_a_batch_are_episodes_of_gymnasium_s_own(environment):
    batch, whole = make_batch(task(environment), 3), original(environment)
    state, first = batch.reset([7, 8, 9]), whole.reset(seed=9)[0]
    np.testing.assert_array_equal(state[2], first)
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.integers(0, 4, 3)
        if batch.action["kind"] == "box":
            actions = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
        step, (obs, reward, *_) = batch.step(actions), whole.step(actions[2])
        np.testing.assert_array_equal(step.next_block[2], obs)
        assert step.native[2] == np.float32(reward)


def test_a_lean_lander_is_cut_by_its_time_limit():
    batch = make_batch(replace(task("LunarLander-v3"), max_episode_steps=5), 2)
    batch.reset([0, 1])
    steps = [batch.step(np.zeros(2, np.int64)) for _ in range(10)]
    assert [bool(s.truncated.all()) for s in steps] == ([False] * 4 + [True]) * 2


def test_its_inner_state_can_be_read_as_before():
    batch = make_batch(task("LunarLander-v3", Field("shaping", "sim.prev_shaping[0]")), 1)
    batch.reset([0])
    whole = original("LunarLander-v3")
    whole.reset(seed=0)
    whole.step(2)
    step = batch.step(np.array([2]))
    assert step.next_block[0, 8] == np.float32(whole.unwrapped.prev_shaping)


@pytest.mark.parametrize("options", [{"enable_wind": True}, {"render_mode": "rgb_array"}])
def test_wind_and_pictures_are_left_to_the_original(options):
    env, _ = build(replace(task("LunarLander-v3"), env_kwargs=options))
    assert lander_step(env.unwrapped) is None


def test_what_is_derived_from_the_lander_is_left_alone():
    from gymnasium.envs.box2d.lunar_lander import LunarLander

    class Heavier(LunarLander):
        pass

    assert lander_step(Heavier()) is None
    assert lander_step(LunarLander()) is not None


def test_an_action_that_is_none_is_refused_in_the_lander_s_own_words():
    batch = make_batch(task("LunarLander-v3"), 1)
    batch.reset([0])
    with pytest.raises(EnvironmentUnusable, match="invalid"):
        batch.step(np.array([4]))
