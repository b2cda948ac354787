"""An environment that is not the same twice, whatever its seed."""

import os

import gymnasium
import numpy as np


class Chance(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action):
        seen = self._seen()
        return seen, float(seen[0]), False, False, {}

    def _seen(self):
        number = int.from_bytes(os.urandom(4), "little")
        return np.array([number / 2**31 - 1], np.float32)


gymnasium.register("Chance-v0", "chance_env:Chance", max_episode_steps=20)
