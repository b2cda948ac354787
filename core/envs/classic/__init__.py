"""Classic control as vectorised NumPy dynamics; each is tested step for step against gymnasium."""

from __future__ import annotations

from core.envs.classic import acrobot, cartpole, mountain_car, pendulum
from core.envs.classic.dynamics import Dynamics

DYNAMICS: dict[str, Dynamics] = {
    "CartPole-v0": cartpole.cartpole(200),
    "CartPole-v1": cartpole.cartpole(500),
    "MountainCar-v0": mountain_car.MOUNTAIN_CAR,
    "MountainCarContinuous-v0": mountain_car.MOUNTAIN_CAR_CONTINUOUS,
    "Pendulum-v1": pendulum.PENDULUM,
    "Acrobot-v1": acrobot.ACROBOT,
}

__all__ = ["DYNAMICS", "Dynamics"]
