"""CartPole: a pole on a cart that is pushed left or right.

The equations are those of R. Florian, "Correct equations for the dynamics of the cart-pole system"
(2007), without friction, integrated by explicit Euler steps.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs.classic.dynamics import Advance, Constants, Dynamics, States, as_observation

_CONSTANTS = MappingProxyType(
    {
        "gravity": 9.8,  # m/s²
        "cart_mass": 1.0,  # kg
        "pole_mass": 0.1,  # kg
        "half_length": 0.5,  # m
        "force": 10.0,  # N
    }
)
_SECONDS_PER_STEP = 0.02
_TRACK = 2.4  # m, either side
_LEAN = 12 * 2 * math.pi / 360  # rad, either side


def _draw(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return rng.uniform(-0.05, 0.05, size=4)


def _advancing(constants: Constants) -> Advance:
    gravity, force = constants["gravity"], constants["force"]
    pole_mass, half_length = constants["pole_mass"], constants["half_length"]
    total_mass = constants["cart_mass"] + pole_mass
    pole_moment = pole_mass * half_length  # kg·m

    def advance(
        states: States, action: npt.NDArray[Any]
    ) -> tuple[States, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        lean, spin = states[:, 2], states[:, 3]
        cos, sin = np.cos(lean), np.sin(lean)
        push = np.where(action == 1, force, -force)
        drive = (push + pole_moment * np.square(spin) * sin) / total_mass
        spin_rate = (gravity * sin - cos * drive) / (
            half_length * (4.0 / 3.0 - pole_mass * np.square(cos) / total_mass)
        )
        following = np.empty_like(states)
        following[:, 0] = states[:, 0] + _SECONDS_PER_STEP * states[:, 1]
        following[:, 1] = states[:, 1] + _SECONDS_PER_STEP * (
            drive - pole_moment * spin_rate * cos / total_mass
        )
        following[:, 2] = lean + _SECONDS_PER_STEP * spin
        following[:, 3] = spin + _SECONDS_PER_STEP * spin_rate
        fallen = (np.abs(following[:, 0]) > _TRACK) | (np.abs(following[:, 2]) > _LEAN)
        return following, np.ones(len(states)), fallen

    return advance


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
        constants=_CONSTANTS,
        advancing=_advancing,
    )
