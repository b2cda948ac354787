"""A pair in the style of LESR for CartPole, written for this example; see `lesr_pair.py`."""

import numpy as np


def revise_state(s):
    lean_ahead = s[2] + 0.3 * s[3]
    drift_ahead = s[0] + 0.5 * s[1]
    unrest = s[1] ** 2 + s[3] ** 2
    upright = np.cos(s[2])
    return np.concatenate((s, [lean_ahead, drift_ahead, unrest, upright]))


def intrinsic_reward(updated_s):
    balance = np.exp(-10.0 * updated_s[4] ** 2)
    place = -0.1 * np.abs(updated_s[5])
    return balance + place + 0.5 * updated_s[7] - 0.01 * np.minimum(updated_s[6], 5.0)
