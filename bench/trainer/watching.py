"""The same measure for both sides: native returns of training episodes, seen at the environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from core.envs import EnvBatch, Transition

LAST = 100
POINTS = 20

Choose = Callable[[np.ndarray], np.ndarray]
"""Observations [B, D], as the environment gives them -> actions as the environment takes them."""

Outcome = tuple[list[tuple[int, float]], Choose]
"""The training episodes of a run, (step of their row, return) in order, and its policy."""


class Watched:
    """A batch that writes down every episode's native return; for the rest it is the batch.

    `episodes` holds per row (step of the row at which the episode ended, undiscounted return).
    """

    def __init__(self, batch: EnvBatch) -> None:
        self.batch = batch
        self.steps = 0
        self.episodes: list[list[tuple[int, float]]] = [[] for _ in range(batch.rows)]
        self._returns = np.zeros(batch.rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batch, name)

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        self._returns[:] = 0.0
        return self.batch.reset(seeds)

    def step(self, action: np.ndarray) -> Transition:
        step = self.batch.step(action)
        self.steps += 1
        self._returns += step.native
        ended = step.terminated | step.truncated
        for row in np.flatnonzero(ended).tolist():
            self.episodes[row].append((self.steps, float(self._returns[row])))
        self._returns[ended] = 0.0
        return step

    def of(self, rows: range) -> list[tuple[int, float]]:
        """Return the episodes of some rows in the order in which they ended."""
        return sorted(episode for row in rows for episode in self.episodes[row])


def last_mean(episodes: Sequence[tuple[int, float]]) -> float:
    """Return the mean return of the last 100 episodes, or of all where there are fewer.

    Raises:
        ValueError: no episode ended.
    """
    if not episodes:
        raise ValueError("no training episode ended: train for more steps")
    return float(np.mean([returned for _, returned in episodes[-LAST:]]))


def learning_curve(episodes: Sequence[tuple[int, float]], steps: int) -> list[float | None]:
    """Return the mean return of the episodes that ended in each twentieth of the training.

    Args:
        episodes: (step of their row, return).
        steps:    of every row in the whole training.
    """
    ends = np.array([end for end, _ in episodes])
    returns = np.array([returned for _, returned in episodes])
    place = np.minimum((ends - 1) * POINTS // max(1, steps), POINTS - 1)
    return [
        round(float(returns[place == p].mean()), 3) if (place == p).any() else None
        for p in range(POINTS)
    ]


def evaluate(environment: str, choose: Choose, seeds: Sequence[int]) -> list[float]:
    """Return the native return of one episode per seed on gymnasium's own environment."""
    envs = [gymnasium.make(environment) for _ in seeds]
    seen = np.stack([e.reset(seed=s)[0] for e, s in zip(envs, seeds, strict=True)])
    total, alive = np.zeros(len(envs)), np.ones(len(envs), bool)
    while alive.any():
        actions = choose(seen.astype(np.float32))
        for row in np.flatnonzero(alive).tolist():
            seen[row], reward, terminated, truncated, _ = envs[row].step(actions[row])
            total[row] += reward
            alive[row] = not (terminated or truncated)
    for env in envs:
        env.close()
    return total.tolist()
