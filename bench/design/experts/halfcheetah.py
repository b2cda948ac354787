"""Expert for halfcheetah.

Derived: speed is the task; effort costs less than usual, for the fitness forgives it; what spoils
early learning is the run on the back or nose, so a pitch beyond what a gallop needs costs.
Tuned: 5 minutes of writing and 10 minutes of trying two settings, with 4 runs of 100,000 and 8 of
150,000 steps: a narrower pitch (0.4) at a higher price kept runs from galloping at all, 88
against 1,405 after 100,000 steps.
"""

import numpy as np

PARAMS = {"forward": 1.0, "effort": 0.05, "pitch": 0.3, "allowed": 0.8}
BOUNDS = {"allowed": (0.1, 1.0)}


def reward(obs, action, next_obs, params):
    pitch = np.abs(np.clip(next_obs.torso_angle, -10.0, 10.0))
    return {
        "forward": params.forward * np.clip(next_obs.x_velocity, -20.0, 20.0),
        "effort": -params.effort * np.square(action).sum(axis=-1),
        "pitch": -params.pitch * np.clip(pitch - params.allowed, 0.0, 2.0),
    }
