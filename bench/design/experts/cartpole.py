"""Expert for cartpole.

Derived: survival is the task, so it is paid most; the two ways to fail (a leaning pole, the
track's end) are felt before they happen, through squares of their share of the limit.
Tuned: no further: 5 minutes of writing, and 6 runs of 20,000 steps showed that all learn.
"""

import numpy as np

PARAMS = {"alive": 1.0, "lean": 0.5, "stray": 0.5}
LIMIT_ANGLE = 0.2095  # rad, where the episode ends
LIMIT_PLACE = 2.4  # m


def share(value, limit):
    return np.square(np.clip(value / limit, -2.0, 2.0))


def reward(obs, action, next_obs, params):
    return {
        "alive": np.full(len(action), params.alive),
        "lean": -params.lean * share(next_obs.pole_angle, LIMIT_ANGLE),
        "stray": -params.stray * share(next_obs.cart_position, LIMIT_PLACE),
    }
