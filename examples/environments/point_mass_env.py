"""A point mass on a plane that is to come to the origin and stay there: small, and quickly learnt."""

import gymnasium as gym
import numpy as np

SPACING = 0.1  # seconds between two steps
GOAL = 0.25  # metres


class PointMass(gym.Env):
    """Push a point in two directions; the native reward is 1 near the origin and 0 elsewhere."""

    observation_space = gym.spaces.Box(-10.0, 10.0, (4,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1.0, 1.0, 2)
        self.speed = np.zeros(2)
        return self._seen(), {}

    def step(self, action):
        push = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        self.speed = np.clip(0.8 * self.speed + push * SPACING * 4, -2.0, 2.0)
        self.place = np.clip(self.place + self.speed * SPACING, -3.0, 3.0)
        near = float(np.abs(self.place).max() < GOAL)
        return self._seen(), near, False, False, {}

    def _seen(self):
        return np.concatenate([self.place, self.speed]).astype(np.float32)


gym.register("PointMass-v0", entry_point=PointMass, max_episode_steps=50)
