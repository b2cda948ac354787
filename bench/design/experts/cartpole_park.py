"""Expert for cartpole-park.

Derived: to live is worth most; a bell around the place pays for being there, and a wide slope
leads to it from anywhere on the track; speed costs only near the place, where the cart has to
rest.
Tuned: 15 minutes, four settings of alive, slope and width with 6 runs each; with less pay for
living the runs ended themselves, with more they were quicker to the place but less exact.
"""

import numpy as np

PARAMS = {"alive": 1.5, "there": 1.0, "width": 0.4, "slope": 1.0, "calm": 0.05, "lean": 0.2}
PLACE = 1.0  # m
LIMIT_ANGLE = 0.2095  # rad, where the episode ends


def off(state):
    return np.abs(np.clip(state.cart_position, -5.0, 5.0) - PLACE)


def bell(distance, width):
    return np.exp(-np.square(np.minimum(distance / (width + 1e-6), 5.0)))


def features(obs):
    return {"off": np.clip(obs.cart_position, -5.0, 5.0) - PLACE}


def reward(obs, action, next_obs, params):
    there = bell(off(next_obs), params.width)
    speed = np.square(np.clip(next_obs.cart_velocity, -5.0, 5.0))
    lean = np.square(np.clip(next_obs.pole_angle / LIMIT_ANGLE, -2.0, 2.0))
    return {
        "alive": np.full(len(action), params.alive),
        "there": params.there * there,
        "slope": -params.slope * np.minimum(off(next_obs), 3.0),
        "calm": -params.calm * speed * there,
        "lean": -params.lean * lean,
    }
