"""Expert for walker-legs-apart.

Derived: to stand is to live; the distance of the feet pays up to a little beyond what is wanted,
which also leads there from feet together; speed and fast joints cost; height counts only while
the torso sinks.
Tuned: no further: 10 minutes of writing, and 4 runs of 100,000 steps, which all stood so from
80,000 on.
"""

import numpy as np

PARAMS = {
    "alive": 1.0,
    "apart": 3.0,
    "enough": 0.65,
    "still": 1.0,
    "speed_width": 0.5,
    "low": 3.0,
    "lean": 0.5,
    "rates": 0.002,
    "effort": 0.05,
}
BOUNDS = {"enough": (0.55, 0.9)}


def apart(state):
    return np.abs(np.clip(state.right_foot_x - state.left_foot_x, -3.0, 3.0))


def reward(obs, action, next_obs, params):
    still = np.exp(
        -np.square(np.clip(next_obs.x_velocity / (params.speed_width + 1e-6), -5.0, 5.0))
    )
    rates = (
        np.square(next_obs.right_thigh_angular_velocity)
        + np.square(next_obs.left_thigh_angular_velocity)
        + np.square(next_obs.right_shin_angular_velocity)
        + np.square(next_obs.left_shin_angular_velocity)
    )
    return {
        "alive": np.full(len(action), params.alive),
        "apart": params.apart * np.minimum(apart(next_obs) / params.enough, 1.0),
        "still": params.still * still,
        "low": -params.low * np.clip(1.0 - next_obs.torso_height, 0.0, 1.0),
        "lean": -params.lean * np.square(np.clip(next_obs.torso_angle, -2.0, 2.0)),
        "rates": -params.rates * np.minimum(rates, 500.0),
        "effort": -params.effort * np.square(action).sum(axis=-1),
    }
