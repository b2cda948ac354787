"""MountainCar: a weak car in a valley, with three actions or with a continuous one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs.classic.dynamics import Dynamics, States, as_observation

_LEFT, _RIGHT = -1.2, 0.6
_FASTEST = 0.07  # per step
_GRAVITY = 0.0025
_FORCE, _POWER = 0.001, 0.0015
_FLAG, _FLAG_CONTINUOUS = 0.5, 0.45


def _draw(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.array([rng.uniform(-0.6, -0.4), 0.0])


def _roll(
    states: States, push: npt.NDArray[Any], flag: float
) -> tuple[States, npt.NDArray[np.bool_]]:
    """Move by one step; the wall on the left stops the car, the slope pulls it back."""
    pull = (_GRAVITY * np.cos(3 * states[:, 0], dtype=np.float64)).astype(states.dtype)
    velocity = np.clip(states[:, 1] + (push - pull), -_FASTEST, _FASTEST)
    position = np.clip(states[:, 0] + velocity, _LEFT, _RIGHT)
    at_wall = (position == states.dtype.type(_LEFT)) & (velocity < 0)
    velocity[at_wall] = 0
    arrived = (position >= flag) & (velocity >= 0)
    return np.stack([position, velocity], axis=1), arrived


def _advance_discrete(
    states: States, action: npt.NDArray[Any]
) -> tuple[States, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    following, arrived = _roll(states, (action - 1) * _FORCE, _FLAG)
    return following, np.full(len(states), -1.0), arrived


def _advance_continuous(
    states: States, action: npt.NDArray[Any]
) -> tuple[States, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    push = action[:, 0].astype(np.float32)
    following, arrived = _roll(states, push * np.float32(_POWER), _FLAG_CONTINUOUS)
    return following, 100.0 * arrived - 0.1 * np.square(push.astype(np.float64)), arrived


MOUNTAIN_CAR = Dynamics(
    state_size=2,
    low=(_LEFT, -_FASTEST),
    high=(_RIGHT, _FASTEST),
    action={"kind": "discrete", "n": 3},
    limit=200,
    draw=_draw,
    observe=as_observation,
    advance=_advance_discrete,
)
MOUNTAIN_CAR_CONTINUOUS = Dynamics(
    state_size=2,
    low=(_LEFT, -_FASTEST),
    high=(_RIGHT, _FASTEST),
    action={"kind": "box", "size": 1, "low": [-1.0], "high": [1.0]},
    limit=999,
    draw=_draw,
    observe=as_observation,
    advance=_advance_continuous,
    dtype=np.float32,  # the original rounds its state to single precision at every step
)
