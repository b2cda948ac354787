"""CartPole: a pole on a cart that is pushed left or right.

The equations are those of R. Florian, "Correct equations for the dynamics of the cart-pole system"
(2007), without friction, integrated by explicit Euler steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs.classic.dynamics import Dynamics, States, as_observation

_GRAVITY = 9.8  # m/s²
_POLE_MASS = 0.1  # kg
_TOTAL_MASS = 1.1  # kg
_HALF_LENGTH = 0.5  # m
_POLE_MOMENT = _POLE_MASS * _HALF_LENGTH  # kg·m
_FORCE = 10.0  # N
_SECONDS_PER_STEP = 0.02
_TRACK = 2.4  # m, either side
_LEAN = 12 * 2 * math.pi / 360  # rad, either side


def _draw(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return rng.uniform(-0.05, 0.05, size=4)


def _advance(
    states: States, action: npt.NDArray[Any]
) -> tuple[States, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    lean, spin = states[:, 2], states[:, 3]
    cos, sin = np.cos(lean), np.sin(lean)
    push = np.where(action == 1, _FORCE, -_FORCE)
    drive = (push + _POLE_MOMENT * np.square(spin) * sin) / _TOTAL_MASS
    spin_rate = (_GRAVITY * sin - cos * drive) / (
        _HALF_LENGTH * (4.0 / 3.0 - _POLE_MASS * np.square(cos) / _TOTAL_MASS)
    )
    following = np.empty_like(states)
    following[:, 0] = states[:, 0] + _SECONDS_PER_STEP * states[:, 1]
    following[:, 1] = states[:, 1] + _SECONDS_PER_STEP * (
        drive - _POLE_MOMENT * spin_rate * cos / _TOTAL_MASS
    )
    following[:, 2] = lean + _SECONDS_PER_STEP * spin
    following[:, 3] = spin + _SECONDS_PER_STEP * spin_rate
    fallen = (np.abs(following[:, 0]) > _TRACK) | (np.abs(following[:, 2]) > _LEAN)
    return following, np.ones(len(states)), fallen


def cartpole(limit: int) -> Dynamics:
    """Return the system with an episode length of `limit` steps."""
    high = (2 * _TRACK, None, 2 * _LEAN, None)
    return Dynamics(
        state_size=4,
        low=tuple(None if value is None else -value for value in high),
        high=high,
        action={"kind": "discrete", "n": 2},
        limit=limit,
        draw=_draw,
        observe=as_observation,
        advance=_advance,
    )
