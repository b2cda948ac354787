"""Sums that several MuJoCo tasks share, on NumPy arrays and torch tensors alike."""

from __future__ import annotations

from typing import Any

from core.envs.mujoco.scene import Array, Scene


def cost(weight: float, values: Array) -> Array:
    """Return weight · Σ values² of each row."""
    return weight * (values * values).sum(-1)


def length(vectors: Array, xp: Any) -> Array:
    """Return the length of the vectors along the last dimension."""
    return xp.sqrt((vectors * vectors).sum(-1))


def flat(values: Array) -> Array:
    """Return [B, n] with all dimensions but the first made one."""
    return values.reshape(values.shape[0], -1)


def inside(values: Array, bounds: tuple[float, float]) -> Array:
    """Tell where values lie strictly between two bounds."""
    return (bounds[0] < values) & (values < bounds[1])


def never(scene: Scene) -> Array:
    """Return [B] times False: the task has no end of its own."""
    return scene.xp.zeros_like(scene.after["qpos"][:, 0], dtype=scene.xp.bool)
