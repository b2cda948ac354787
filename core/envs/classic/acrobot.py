"""Acrobot: two links, a motor in the elbow; lift the tip above the bar.

The equations are those of Sutton and Barto's book, integrated by one Runge-Kutta step.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs.classic.dynamics import Advance, Constants, Dynamics, States
from core.fields import Floats

_CONSTANTS = MappingProxyType(
    {
        "gravity": 9.8,  # m/s²
        "mass": 1.0,  # kg of each link of 1 m, and kg·m² of its moment of inertia
        "torque": 1.0,  # N·m
    }
)
_CENTRE = 0.5  # m, from joint to centre of mass
_SECONDS_PER_STEP = 0.2
_FASTEST = np.array([4 * math.pi, 9 * math.pi])  # rad/s


def _draw(rng: np.random.Generator) -> npt.NDArray[Any]:
    return rng.uniform(-0.1, 0.1, size=4).astype(np.float32)


def _observe(states: States) -> Floats:
    cos, sin = np.cos(states[:, :2]), np.sin(states[:, :2])
    columns = (cos[:, 0], sin[:, 0], cos[:, 1], sin[:, 1], states[:, 2], states[:, 3])
    return np.stack(columns, axis=1).astype(np.float32)


def _derivative(states: States, torque: npt.NDArray[Any], gravity: Any) -> States:
    """Return the rates of change; `torque` is per unit of mass."""
    shoulder, elbow, turn, bend = states.T
    cos, sin = np.cos(elbow), np.sin(elbow)
    inertia = _CENTRE**2 + (1 + _CENTRE**2 + 2 * _CENTRE * cos) + 2
    coupling = _CENTRE**2 + _CENTRE * cos + 1
    weight = _CENTRE * gravity * np.cos(shoulder + elbow - math.pi / 2)
    load = (
        -_CENTRE * bend**2 * sin
        - 2 * _CENTRE * bend * turn * sin
        + (_CENTRE + 1) * gravity * np.cos(shoulder - math.pi / 2)
        + weight
    )
    bend_rate = (torque + coupling / inertia * load - _CENTRE * turn**2 * sin - weight) / (
        _CENTRE**2 + 1 - coupling**2 / inertia
    )
    turn_rate = -(coupling * bend_rate + load) / inertia
    return np.stack([turn, bend, turn_rate, bend_rate], axis=1)


def _integrate(states: States, torque: npt.NDArray[Any], gravity: Any) -> States:
    half = _SECONDS_PER_STEP / 2
    k1 = _derivative(states, torque, gravity)
    k2 = _derivative(states + half * k1, torque, gravity)
    k3 = _derivative(states + half * k2, torque, gravity)
    k4 = _derivative(states + _SECONDS_PER_STEP * k3, torque, gravity)
    following: States = states + _SECONDS_PER_STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return following


def _wrapped(angles: States) -> States:
    """Bring angles into [-π, π]; one step turns a link by less than a full circle."""
    angles = np.where(angles > math.pi, angles - 2 * math.pi, angles)
    return np.where(angles < -math.pi, angles + 2 * math.pi, angles)


def _advancing(constants: Constants) -> Advance:
    gravity, strength = constants["gravity"], constants["torque"] / constants["mass"]

    def advance(
        states: States, action: npt.NDArray[Any]
    ) -> tuple[States, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        following = _integrate(states, (action - 1.0) * strength, gravity)
        following[:, :2] = _wrapped(following[:, :2])
        following[:, 2:] = np.clip(following[:, 2:], -_FASTEST, _FASTEST)
        shoulder, elbow = following[:, 0], following[:, 1]
        lifted = -np.cos(shoulder) - np.cos(elbow + shoulder) > 1.0
        return following, np.where(lifted, 0.0, -1.0), lifted

    return advance


ACROBOT = Dynamics(
    state_size=4,
    low=(-1.0, -1.0, -1.0, -1.0, -4 * math.pi, -9 * math.pi),
    high=(1.0, 1.0, 1.0, 1.0, 4 * math.pi, 9 * math.pi),
    action={"kind": "discrete", "n": 3},
    limit=500,
    draw=_draw,
    observe=_observe,
    constants=_CONSTANTS,
    advancing=_advancing,
)
