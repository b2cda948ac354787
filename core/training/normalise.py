"""Running statistics of many members side by side: of observations, and of discounted returns."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from core.fields import Floats

Doubles: TypeAlias = npt.NDArray[np.float64]

CLIP = 10.0
EPSILON = 1e-8  # of a variance


class RunningMoments:
    """Mean and variance per member and column, in double precision, over all rows ever seen.

    The count begins at a tiny number, mean 0 and variance 1, so that nothing seen means "as is".
    """

    def __init__(self, members: int, columns: int) -> None:
        self.mean: Doubles = np.zeros((members, columns))
        self.variance: Doubles = np.ones((members, columns))
        self.count: Doubles = np.full((members, 1), 1e-4)

    def add(self, rows: npt.NDArray[np.floating]) -> None:
        """Take in rows [P, B, columns], by the parallel form of Welford's method."""
        new = rows.shape[1]
        mean = rows.mean(axis=1, dtype=np.float64)
        variance = np.square(rows - mean[:, None]).mean(axis=1, dtype=np.float64)
        total = self.count + new
        delta = mean - self.mean
        spread = self.variance * self.count + variance * new + delta**2 * (self.count * new / total)
        self.mean = self.mean + delta * (new / total)
        self.variance = spread / total
        self.count = total

    def scale(self) -> Doubles:
        """Return 1 / standard deviation, [P, columns]."""
        scale: Doubles = 1.0 / np.sqrt(self.variance + EPSILON)
        return scale


def normalised(rows: Floats, mean: Floats, scale: Floats) -> Floats:
    """Return clip((rows - mean) · scale, ±10); this is what the policy sees, here and when measured."""
    out = rows - mean
    out *= scale
    np.clip(out, -CLIP, CLIP, out=out)
    return out


class ReturnScaler:
    """Scales a member's rewards by the standard deviation of its discounted returns.

    The return of a row runs R ← γR + r and starts anew after an episode's end; its variance over
    all steps and rows is what rewards are divided by (never centred), clipped to ±10.
    """

    def __init__(self, members: int, rows: int, gamma: float | Floats) -> None:
        """Begin; gamma is one discount for all, or one per member [P, 1]."""
        self.moments = RunningMoments(members, 1)
        self._returns: Doubles = np.zeros((members, rows))
        self._gamma = gamma

    def restart(self) -> None:
        """Forget running returns, because the environments start anew."""
        self._returns[:] = 0.0

    def scale(self, rewards: Floats, ended: npt.NDArray[np.bool_]) -> Floats:
        """Take in rewards [T, P, N] and return them scaled.

        Args:
            rewards: [T, P, N] in the order in which they were earned.
            ended:   [T, P, N] whether the episode ended with that step.
        """
        history = np.empty(rewards.shape)
        for t in range(len(rewards)):
            self._returns = self._returns * self._gamma + rewards[t]
            history[t] = self._returns
            self._returns[ended[t]] = 0.0
        members = rewards.shape[1]
        self.moments.add(history.transpose(1, 0, 2).reshape(members, -1, 1))
        scaled = rewards * self.moments.scale()[None]
        return np.clip(scaled, -CLIP, CLIP).astype(np.float32)
