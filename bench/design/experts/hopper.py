"""Expert for hopper.

Derived: speed is the task and staying up is what makes it last, so both are paid about equally;
small costs of leaning and of turning fast tell of a fall before it comes.
Tuned: 5 minutes of writing and 10 minutes of trying two settings, 4 and 8 runs of 100,000 steps,
that could not be told from each other or from the native reward; the first one stayed.
"""

import numpy as np

PARAMS = {"alive": 1.0, "forward": 1.0, "lean": 2.0, "spin": 0.02, "effort": 0.001}


def reward(obs, action, next_obs, params):
    lean = np.clip(next_obs.torso_angle, -1.0, 1.0)
    spin = np.clip(next_obs.torso_angular_velocity, -10.0, 10.0)
    return {
        "alive": np.full(len(action), params.alive),
        "forward": params.forward * np.clip(next_obs.x_velocity, -10.0, 10.0),
        "lean": -params.lean * np.square(lean),
        "spin": -params.spin * np.square(spin),
        "effort": -params.effort * np.square(action).sum(axis=-1),
    }
