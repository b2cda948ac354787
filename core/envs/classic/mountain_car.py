"""MountainCar: a weak car in a valley, with three actions or with a continuous one."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs.classic.dynamics import Advance, Constants, Dynamics, States, as_observation

_LEFT, _RIGHT = -1.2, 0.6
_FASTEST = 0.07  # per step
_CONSTANTS = MappingProxyType({"gravity": 0.0025, "force": 0.001})
_CONSTANTS_CONTINUOUS = MappingProxyType({"gravity": 0.0025, "power": 0.0015})
_FLAG, _FLAG_CONTINUOUS = 0.5, 0.45


def _draw(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.array([rng.uniform(-0.6, -0.4), 0.0])


def _roll(
    states: States, push: npt.NDArray[Any], gravity: Any, flag: float
) -> tuple[States, npt.NDArray[np.bool_]]:
    """Move by one step; the wall on the left stops the car, the slope pulls it back."""
    pull = (gravity * np.cos(3 * states[:, 0], dtype=np.float64)).astype(states.dtype)
    velocity = np.clip(states[:, 1] + (push - pull), -_FASTEST, _FASTEST)
    position = np.clip(states[:, 0] + velocity, _LEFT, _RIGHT)
    at_wall = (position == states.dtype.type(_LEFT)) & (velocity < 0)
    velocity[at_wall] = 0
    arrived = (position >= flag) & (velocity >= 0)
    return np.stack([position, velocity], axis=1), arrived


def _advancing_discrete(constants: Constants) -> Advance:
    force, gravity = constants["force"], constants["gravity"]

    def advance(
        states: States, action: npt.NDArray[Any]
    ) -> tuple[States, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        following, arrived = _roll(states, (action - 1) * force, gravity, _FLAG)
        return following, np.full(len(states), -1.0), arrived

    return advance


def _advancing_continuous(constants: Constants) -> Advance:
    power, gravity = np.float32(constants["power"]), constants["gravity"]

    def advance(
        states: States, action: npt.NDArray[Any]
    ) -> tuple[States, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        push = action[:, 0].astype(np.float32)
        following, arrived = _roll(states, push * power, gravity, _FLAG_CONTINUOUS)
        return following, 100.0 * arrived - 0.1 * np.square(push.astype(np.float64)), arrived

    return advance


MOUNTAIN_CAR = Dynamics(
    state_size=2,
    low=(_LEFT, -_FASTEST),
    high=(_RIGHT, _FASTEST),
    action={"kind": "discrete", "n": 3},
    limit=200,
    draw=_draw,
    observe=as_observation,
    constants=_CONSTANTS,
    advancing=_advancing_discrete,
)
MOUNTAIN_CAR_CONTINUOUS = Dynamics(
    state_size=2,
    low=(_LEFT, -_FASTEST),
    high=(_RIGHT, _FASTEST),
    action={"kind": "box", "size": 1, "low": [-1.0], "high": [1.0]},
    limit=999,
    draw=_draw,
    observe=as_observation,
    constants=_CONSTANTS_CONTINUOUS,
    advancing=_advancing_continuous,
    dtype=np.float32,  # the original rounds its state to single precision at every step
)
