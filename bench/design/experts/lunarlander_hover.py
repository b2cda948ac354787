"""Expert for lunarlander-hover.

Derived: to stay in the air is to live; a bell around the height and the middle pays, slopes lead
to them, and speed and lean cost throughout, for they are what ends the hovering; fuel costs
nothing.
Tuned: 10 minutes, two settings with 4 runs of 100,000 steps each; with twice the pay for living
and for the place 0.59 instead of 0.35.
"""

import numpy as np

PARAMS = {
    "alive": 1.0,
    "there": 2.0,
    "width": 0.4,
    "slope": 0.5,
    "speed": 0.3,
    "lean": 0.5,
    "spin": 0.3,
    "fall": 10.0,
}
HEIGHT = 0.6


def reward(obs, action, next_obs, params):
    across = np.clip(next_obs.x, -2.0, 2.0)
    above = np.clip(next_obs.y, -2.0, 2.0) - HEIGHT
    off = np.sqrt(np.square(across) + np.square(above) + 1e-8)
    speed = np.square(np.clip(next_obs.x_velocity, -3.0, 3.0)) + np.square(
        np.clip(next_obs.y_velocity, -3.0, 3.0)
    )
    return {
        "alive": np.full(len(action), params.alive),
        "there": params.there * np.exp(-np.square(np.minimum(off / (params.width + 1e-6), 5.0))),
        "slope": -params.slope * off,
        "speed": -params.speed * speed,
        "lean": -params.lean * np.square(np.clip(next_obs.angle, -3.2, 3.2)),
        "spin": -params.spin * np.square(np.clip(next_obs.angular_velocity, -5.0, 5.0)),
        "fall": np.where(next_obs.terminated > 0.5, -params.fall, 0.0),
    }
