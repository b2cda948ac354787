"""The player of a bundle and its policy's card: episodes end where the service ends them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import safetensors.numpy

from core.export import play
from core.export.policy_file import describe_policy
from core.records.task import Field, Task
from tests.builders import a_preflight, a_run, a_task
from tests.rim.export_parts import a_policy, alone, written

ENDLESS = """
import gymnasium as gym
import numpy as np


class Endless(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
    action_space = gym.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, False, False, {}


gym.register("Endless-v0", Endless)
"""
STILL = """
def reward(obs, action, next_obs, params):
    return {"still": -next_obs.place * next_obs.place}
"""
TASK = Task("endless", "endless:Endless-v0", "Stay.", fields=(Field("place", "obs[0]"),))


@pytest.mark.parametrize(("limit", "most"), [(200, 200), (None, 10_000)])
def test_a_policy_s_card_says_where_episodes_are_cut(limit, most):
    tensors = {
        "policy.out.weight": np.zeros((2, 2), np.float32),
        "policy.out.bias": np.zeros(2, np.float32),
        "normaliser.mean": np.zeros(2, np.float32),
    }
    preflight = a_preflight(max_episode_steps=limit)
    weights = safetensors.numpy.save(tensors)
    card = describe_policy(weights, a_run("0.0", 0.5, stage="confirm"), a_task(), preflight)
    assert card["most_steps"] == most


@pytest.mark.slow
def test_the_player_ends_an_episode_that_its_environment_does_not_end(tmp_path):
    (tmp_path / "endless.py").write_text(ENDLESS)
    a_policy(written(tmp_path, TASK, STILL), inputs=1, actions=1, most_steps=7)
    code = "from play import Player; lived = Player().play(0); print(lived)"
    lived = alone(tmp_path, "-c", code)
    assert "'native_return': 7.0" in lived
    assert "'length': 7, 'terminated': False" in lived


def test_a_model_counts_choices_from_0_where_the_environment_begins_elsewhere(monkeypatch):
    pytest.importorskip("stable_baselines3")
    monkeypatch.syspath_prepend(str(Path(play.__file__).parent))
    monkeypatch.setitem(sys.modules, "play", play)
    flat = importlib.import_module("core.export.to_sb3").flat

    class Levels(gym.Env):
        observation_space = gym.spaces.Box(-9.0, 9.0, (1,))
        action_space = gym.spaces.Discrete(3, start=2)

        def step(self, action):
            assert action in self.action_space
            return np.array([action], np.float32), 0.0, False, False, {}

    env = flat(Levels())
    assert env.action_space == gym.spaces.Discrete(3)
    assert [env.step(np.int64(choice))[0][0] for choice in range(3)] == [2.0, 3.0, 4.0]
