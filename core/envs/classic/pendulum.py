"""Pendulum: swing a rod up with a weak motor and hold it there."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs.classic.dynamics import Advance, Constants, Dynamics, States
from core.fields import Floats

_FASTEST = 8.0  # rad/s
_STRONGEST = 2.0  # N·m
_CONSTANTS = MappingProxyType({"gravity": 10.0, "mass": 1.0, "length": 1.0})  # m/s², kg, m
_SECONDS_PER_STEP = 0.05


def _draw(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    high = np.array([math.pi, 1.0])
    return rng.uniform(-high, high)


def _observe(states: States) -> Floats:
    angle, spin = states[:, 0], states[:, 1]
    return np.stack([np.cos(angle), np.sin(angle), spin], axis=1).astype(np.float32)


def _advancing(constants: Constants) -> Advance:
    mass, arm = constants["mass"], constants["length"]
    weight = 3 * constants["gravity"] / (2 * arm)
    ease = np.float32(3.0 / (mass * arm**2))  # torques come in single precision

    def advance(
        states: States, action: npt.NDArray[Any]
    ) -> tuple[States, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        angle, spin = states[:, 0], states[:, 1]
        torque = np.clip(action[:, 0], -_STRONGEST, _STRONGEST)
        upright = (angle + math.pi) % (2 * math.pi) - math.pi
        cost = upright**2 + 0.1 * spin**2 + 0.001 * torque**2
        pull = weight * np.sin(angle) + ease * torque
        faster = np.clip(spin + pull * _SECONDS_PER_STEP, -_FASTEST, _FASTEST)
        following = np.stack([angle + faster * _SECONDS_PER_STEP, faster], axis=1)
        return following, -cost, np.zeros(len(states), np.bool_)

    return advance


PENDULUM = Dynamics(
    state_size=2,
    low=(-1.0, -1.0, -_FASTEST),
    high=(1.0, 1.0, _FASTEST),
    action={"kind": "box", "size": 1, "low": [-_STRONGEST], "high": [_STRONGEST]},
    limit=200,
    draw=_draw,
    observe=_observe,
    constants=_CONSTANTS,
    advancing=_advancing,
)
