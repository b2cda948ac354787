"""An environment of your own: any module that registers itself with Gymnasium when it is imported."""

import gymnasium as gym
import numpy as np


class Corridor(gym.Env):
    """Walk to the end of a corridor."""

    observation_space = gym.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = float(self.np_random.uniform(-1, 1))
        return np.array([self.place, 0.0], np.float32), {}

    def step(self, action):
        move = 0.2 if action else -0.2
        self.place = float(np.clip(self.place + move, -10, 10))
        arrived = self.place >= 3.0
        return np.array([self.place, move], np.float32), float(arrived), arrived, False, {}


gym.register("Corridor-v0", entry_point=Corridor, max_episode_steps=60)
