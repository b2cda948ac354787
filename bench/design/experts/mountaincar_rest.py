"""Expert for mountaincar-rest.

Derived: a bell around the place pays, most of it only at rest; a slope leads to it from anywhere
on the track and is gentle, so that to swing on costs little at first.
Tuned: no further: 5 minutes of writing, and 4 runs of 50,000 steps, which all rested from 20,000 on.
"""

import numpy as np

PARAMS = {"there": 1.0, "width": 0.06, "rest": 1.0, "speed_width": 0.006, "slope": 0.5}
PLACE = -0.65


def bell(value, width):
    return np.exp(-np.square(np.clip(value / (width + 1e-6), -5.0, 5.0)))


def reward(obs, action, next_obs, params):
    off = np.clip(next_obs.position, -1.2, 0.6) - PLACE
    there = bell(off, params.width)
    return {
        "there": params.there * there,
        "rest": params.rest * there * bell(next_obs.velocity, params.speed_width),
        "slope": -params.slope * np.abs(off),
    }
