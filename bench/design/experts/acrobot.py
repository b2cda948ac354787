"""Expert for acrobot.

Derived: the arm has to be pumped, so the gain of mechanical energy up to what the height needs is
paid as a potential, the free end's height as a second, smaller one; every step costs one and the
goal pays.
Tuned: no further: 10 minutes of writing, and 6 runs of 50,000 steps, about as good as the native
reward's.
"""

import numpy as np

PARAMS = {"time": 1.0, "pump": 1.0, "rise": 2.0, "goal": 10.0}
ENOUGH = 10.0  # J, somewhat above the 4.9 that the lowest way over the line needs


def cosine_of_sum(s):
    return s.first_angle_cos * s.second_angle_cos - s.first_angle_sin * s.second_angle_sin


def height(s):
    return np.clip(-s.first_angle_cos - cosine_of_sum(s), -2.0, 2.0)


def energy(s):
    c2 = np.clip(s.second_angle_cos, -1.0, 1.0)
    w1 = np.clip(s.first_angular_velocity, -12.6, 12.6)
    w2 = np.clip(s.second_angular_velocity, -28.3, 28.3)
    kinetic = 0.5 * (3.5 + c2) * np.square(w1) + (1.25 + 0.5 * c2) * w1 * w2 + 0.625 * np.square(w2)
    potential = -9.8 * (1.5 * s.first_angle_cos + 0.5 * cosine_of_sum(s))
    return np.clip(kinetic + potential, -20.0, ENOUGH)


def features(obs):
    return {"height": height(obs), "energy": energy(obs)}


def reward(obs, action, next_obs, params):
    return {
        "time": np.full(len(action), -params.time),
        "pump": params.pump * (energy(next_obs) - energy(obs)),
        "rise": params.rise * (height(next_obs) - height(obs)),
        "goal": np.where(next_obs.terminated > 0.5, params.goal, 0.0),
    }
