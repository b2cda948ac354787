"""Running statistics of many members side by side: of observations, and of discounted returns.

Features are always seen in their own standard deviations, by the statistics of their own member, so a
feature may be written in any unit: what is learnt from it is the same.  Whether the observation's own
dimensions are is a setting of the learner.  Both are clipped alike, so that a feature which repeats a
dimension is that dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from core.fields import Floats

Doubles: TypeAlias = npt.NDArray[np.float64]

CLIP = 10.0
EPSILON = 1e-8  # of a variance
ROUNDING = 1e-6  # of a feature's mean: smaller deviations are what float32 rounds
TINY = 1e-30  # a feature's variance where nothing else holds it above 0
PRIOR = 1e-4
EVERYBODY = slice(None)


class RunningMoments:
    """Mean and variance per member and column, in double precision, over all rows ever seen.

    Before anything is seen, mean is 0 and variance 1, which means "as is".  This counts as `prior`
    rows, one number for all columns or one each: a tiny number, as Stable-Baselines3 has it, or none,
    so that no unit is assumed.
    """

    def __init__(self, members: int, columns: int, prior: float | Doubles = PRIOR) -> None:
        self.mean: Doubles = np.zeros((members, columns))
        self.variance: Doubles = np.ones((members, columns))
        self.count: Doubles = np.zeros((members, columns)) + prior

    def add(
        self, rows: npt.NDArray[np.floating], members: Sequence[int] | slice = EVERYBODY
    ) -> None:
        """Take in rows [P, B, columns] of some members, by the parallel form of Welford's method."""
        new, rows = rows.shape[1], rows[members]
        mean = rows.mean(axis=1, dtype=np.float64)
        variance = np.square(rows - mean[:, None]).mean(axis=1, dtype=np.float64)
        count = self.count[members]
        total = count + new
        delta = mean - self.mean[members]
        spread = self.variance[members] * count + variance * new
        spread += delta**2 * (count * new / total)
        self.mean[members] += delta * (new / total)
        self.variance[members] = spread / total
        self.count[members] = total

    def scale(self) -> Doubles:
        """Return 1 / standard deviation, [P, columns]."""
        scale: Doubles = 1.0 / np.sqrt(self.variance + EPSILON)
        return scale

    def sight(self, size: int, observations: bool) -> tuple[Floats, Floats]:
        """Return what is subtracted from inputs [D + F], and multiplied: float32 [P, D + F] each.

        A feature of which nothing was seen is seen as 0, for its unit is not known yet.

        Args:
            size:         D; the columns before it are the observation, the others features.
            observations: whether the observation is normalised; features are in any case.
        """
        mean, scale = np.zeros_like(self.mean), np.ones_like(self.mean)
        mean[:, size:] = self.mean[:, size:]
        scale[:, size:] = self._feature_scale()[:, size:]
        if observations:
            mean[:, :size], scale[:, :size] = self.mean[:, :size], self.scale()[:, :size]
        return mean.astype(np.float32), scale.astype(np.float32)

    def _feature_scale(self) -> Doubles:
        """Return 1 / standard deviation: a feature c times as large has 1/c of it."""
        variance = np.maximum(self.variance + np.square(ROUNDING * self.mean), TINY)
        return np.where(self.count > 0, 1.0 / np.sqrt(variance), 0.0)


def prior_of(size: int, inputs: int) -> Doubles:
    """Return the prior of each input: Stable-Baselines3's for the observation, none for features.

    Args:
        size:   columns of the observation.
        inputs: all columns; what follows the observation is features.
    """
    return np.where(np.arange(inputs) < size, PRIOR, 0.0)


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
