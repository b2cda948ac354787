"""Expert for pendulum.

Derived: the usual quadratic cost of angle, speed and torque, which is what the task's words ask
for, and a potential on the energy (speed²/2 + 15 height; 15 at rest upright), so that pumping is
paid from the first swing on.
Tuned: no further: 5 minutes of writing, and 6 runs of 50,000 steps, a little ahead of the native
reward's.
"""

import numpy as np

PARAMS = {"angle": 1.0, "speed": 0.1, "effort": 0.001, "pump": 0.5}
GRAVITY = 15.0  # 3 g / (2 l), 1/s²


def energy_error(state):
    speed = np.clip(state.angular_velocity, -8.0, 8.0)
    return np.abs(0.5 * np.square(speed) + GRAVITY * (np.clip(state.height, -1.0, 1.0) - 1.0))


def reward(obs, action, next_obs, params):
    angle = np.arctan2(obs.sideways, obs.height)
    speed = np.clip(obs.angular_velocity, -8.0, 8.0)
    return {
        "angle": -params.angle * np.square(angle),
        "speed": -params.speed * np.square(speed),
        "effort": -params.effort * np.square(action).sum(axis=-1),
        "pump": params.pump * (energy_error(obs) - energy_error(next_obs)),
    }
