"""Expert for mountaincar-continuous.

Derived: as for mountaincar, the gain of mechanical energy is paid as a potential; effort costs
what the wish for little effort suggests, and the flag pays a hundred.
Tuned: no further: 5 minutes of writing, and 8 runs of 6,000 steps, which all reached the flag.
"""

import numpy as np

PARAMS = {"pump": 50.0, "effort": 0.1, "time": 0.02, "flag": 100.0}
ENERGY = 0.0016  # from rest in the valley to rest at the flag


def energy(state):
    position = np.clip(state.position, -1.2, 0.6)
    speed = np.clip(state.velocity, -0.07, 0.07)
    return (0.5 * np.square(speed) + 0.0025 / 3.0 * np.sin(3.0 * position)) / ENERGY


def features(obs):
    return {"energy": energy(obs)}


def reward(obs, action, next_obs, params):
    return {
        "pump": params.pump * (energy(next_obs) - energy(obs)),
        "effort": -params.effort * np.square(action).sum(axis=-1),
        "time": np.full(len(action), -params.time),
        "flag": np.where(next_obs.terminated > 0.5, params.flag, 0.0),
    }
