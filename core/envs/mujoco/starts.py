"""How episodes of the MuJoCo tasks start: drawn from a generator in gymnasium's order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.envs.mujoco.scene import Machine, Options, Start


def start_uniform(rng: np.random.Generator, machine: Machine, options: Options) -> Start:
    """Positions and velocities, both with uniform noise."""
    noise = options["reset_noise_scale"]
    qpos = machine.qpos + rng.uniform(-noise, noise, machine.qpos.size)
    return qpos, machine.qvel + rng.uniform(-noise, noise, machine.qvel.size)


def start_normal(rng: np.random.Generator, machine: Machine, options: Options) -> Start:
    """Positions with uniform noise, velocities with normal noise."""
    noise = options["reset_noise_scale"]
    qpos = machine.qpos + rng.uniform(-noise, noise, machine.qpos.size)
    return qpos, machine.qvel + noise * rng.standard_normal(machine.qvel.size)


def start_reacher(rng: np.random.Generator, machine: Machine, options: Options) -> Start:
    """The arm nearly straight, the target anywhere in a disc."""
    qpos = rng.uniform(-0.1, 0.1, machine.qpos.size) + machine.qpos
    target = rng.uniform(-0.2, 0.2, 2)
    while np.linalg.norm(target) >= 0.2:
        target = rng.uniform(-0.2, 0.2, 2)
    qpos[-2:] = target
    return qpos, _slow(rng, machine, still=2)


def start_pusher(rng: np.random.Generator, machine: Machine, options: Options) -> Start:
    """The arm at rest, the cylinder beside the goal but not too near it."""
    low, high = np.array([-0.3, -0.2]), np.array([0.0, 0.2])
    cylinder = rng.uniform(low, high)
    while np.linalg.norm(cylinder) <= 0.17:
        cylinder = rng.uniform(low, high)
    qpos = machine.qpos.copy()
    qpos[-4:-2], qpos[-2:] = cylinder, 0.0
    return qpos, _slow(rng, machine, still=4)


def _slow(rng: np.random.Generator, machine: Machine, still: int) -> npt.NDArray[np.float64]:
    """Draw small velocities; the last `still` of them are 0."""
    qvel = machine.qvel + rng.uniform(-0.005, 0.005, machine.qvel.size)
    qvel[-still:] = 0.0
    return qvel
