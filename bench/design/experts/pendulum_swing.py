"""Expert for pendulum-swing.

Derived: a free swing that turns around at 90 degrees on each side has exactly the energy of rest
at that height, speed²/2 + 15 height = 0; so a bell around that energy pays, a slope leads to it
from hanging still, and being above the middle costs, for that is the way over the top.
Tuned: no further: 5 minutes of writing, and 4 runs of 50,000 steps, which all swung from 30,000
on.
"""

import numpy as np

PARAMS = {"swing": 1.0, "width": 3.0, "slope": 0.05, "high": 1.0, "effort": 0.001}
GRAVITY = 15.0  # 3 g / (2 l), 1/s²


def energy(state):
    speed = np.clip(state.angular_velocity, -8.0, 8.0)
    return 0.5 * np.square(speed) + GRAVITY * np.clip(state.height, -1.0, 1.0)


def features(obs):
    return {"energy": energy(obs)}


def reward(obs, action, next_obs, params):
    error = np.abs(energy(next_obs))
    return {
        "swing": params.swing * np.exp(-np.square(np.minimum(error / (params.width + 1e-6), 5.0))),
        "slope": -params.slope * error,
        "high": -params.high * np.clip(next_obs.height - 0.1, 0.0, 1.0),
        "effort": -params.effort * np.square(action).sum(axis=-1),
    }
