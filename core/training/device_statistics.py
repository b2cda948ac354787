"""Running statistics and advantages as tensors on one device; nothing in here waits for it.

The definitions are those of `core.training.normalise` and `core.training.advantages`, and the tests
compare them number for number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.training.normalise import CLIP, EPSILON, ROUNDING, TINY, ReturnScaler, RunningMoments


class TensorMoments:
    """Mean and variance per member and column, float64 [P, columns]; see `RunningMoments`."""

    def __init__(self, moments: RunningMoments, device: torch.device) -> None:
        """Take over what has been seen so far."""
        self.mean = torch.tensor(moments.mean, device=device)
        self.variance = torch.tensor(moments.variance, device=device)
        self.count = torch.tensor(moments.count, device=device)

    def add(self, rows: Tensor) -> None:
        """Take in rows [P, B, columns], by the parallel form of Welford's method."""
        new = rows.shape[1]
        seen = rows.double()
        mean = seen.mean(1)
        variance = (seen - mean[:, None]).square().mean(1)
        total = self.count + new
        delta = mean - self.mean
        spread = self.variance * self.count + variance * new
        spread += delta.square() * (self.count * new / total)
        self.mean = self.mean + delta * (new / total)
        self.variance = spread / total
        self.count = total

    def scale(self) -> Tensor:
        """Return 1 / standard deviation, [P, columns]."""
        return (self.variance + EPSILON).rsqrt()

    def sight(self, size: int, observations: bool) -> tuple[Tensor, Tensor]:
        """Return what is subtracted from inputs, and multiplied, [P, I]; see `RunningMoments`."""
        mean, scale = torch.zeros_like(self.mean), torch.ones_like(self.mean)
        variance = self.variance + (ROUNDING * self.mean).square()
        feature = variance.clamp(min=TINY).rsqrt() * (self.count > 0)
        mean[:, size:], scale[:, size:] = self.mean[:, size:], feature[:, size:]
        if observations:
            mean[:, :size], scale[:, :size] = self.mean[:, :size], self.scale()[:, :size]
        return mean.float(), scale.float()

    def on_host(self) -> RunningMoments:
        """Return the same as arrays, for weights and checkpoints."""
        moments = RunningMoments(*self.mean.shape)
        moments.mean = self.mean.cpu().numpy().copy()
        moments.variance = self.variance.cpu().numpy().copy()
        moments.count = self.count.cpu().numpy().copy()
        return moments


class TensorReturnScaler:
    """Scales a member's rewards by the deviation of its discounted returns; see `ReturnScaler`."""

    def __init__(
        self, scaler: ReturnScaler, gamma: Tensor, envs: int, device: torch.device
    ) -> None:
        """Take over what has been seen so far; running returns begin at 0; gamma is [P, 1]."""
        self.moments = TensorMoments(scaler.moments, device)
        self._gamma = gamma
        members = len(self.moments.mean)
        self._returns = torch.zeros(members, envs, dtype=torch.float64, device=device)

    def scale(self, rewards: Tensor, ended: Tensor) -> Tensor:
        """Take in rewards [T, P, N] and where episodes ended; return the rewards scaled."""
        history = torch.empty_like(rewards, dtype=torch.float64)
        for t in range(len(rewards)):
            self._returns = self._returns * self._gamma + rewards[t]
            history[t] = self._returns
            self._returns = self._returns.masked_fill(ended[t], 0.0)
        members = rewards.shape[1]
        self.moments.add(history.transpose(0, 1).reshape(members, -1, 1))
        return (rewards * self.moments.scale()[None]).clamp(-CLIP, CLIP).float()

    def on_host(self) -> ReturnScaler:
        """Return the same as arrays, for checkpoints."""
        members, envs = self._returns.shape
        scaler = ReturnScaler(members, envs, self._gamma.cpu().numpy())
        scaler.moments = self.moments.on_host()
        return scaler


def advantages_of(
    rewards: Tensor,
    values: Tensor,
    following: Tensor,
    terminated: Tensor,
    ended: Tensor,
    gamma: Tensor,
    gae_lambda: Tensor,
) -> Tensor:
    """Return the advantage of every step, [T, ...]; see `estimate_advantages`."""
    delta = rewards + gamma * following * ~terminated - values
    decay = gamma * gae_lambda * (~ended).float()
    advantages = torch.empty_like(delta)
    trace = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        trace = delta[t] + decay[t] * trace
        advantages[t] = trace
    return advantages
