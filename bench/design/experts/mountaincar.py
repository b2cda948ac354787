"""Expert for mountaincar.

Derived: only energy brings the car up, so the gain of mechanical energy (speed²/2 + 0.0025 sin(3
x)/3, the environment's own slope) is paid as a potential; every step costs, and the flag pays.
Tuned: no further: 5 minutes of writing, and 6 runs of 200,000 steps, 30 steps ahead of the native
reward's.
"""

import numpy as np

PARAMS = {"time": 1.0, "pump": 20.0, "flag": 20.0}
ENERGY = 0.0016  # from rest in the valley to rest at the flag


def energy(state):
    position = np.clip(state.position, -1.2, 0.6)
    speed = np.clip(state.velocity, -0.07, 0.07)
    return (0.5 * np.square(speed) + 0.0025 / 3.0 * np.sin(3.0 * position)) / ENERGY


def features(obs):
    return {"energy": energy(obs)}


def reward(obs, action, next_obs, params):
    return {
        "time": np.full(len(action), -params.time),
        "pump": params.pump * (energy(next_obs) - energy(obs)),
        "flag": np.where(next_obs.terminated > 0.5, params.flag, 0.0),
    }
