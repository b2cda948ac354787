"""How likely a policy's actions are: draws among choices, or Gaussians around a vector.

Made once for the actions of a minibatch, so that probability, entropy and gradient share their sums.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from core.training.networks import Views, exp

_LOG_2PI = math.log(2 * math.pi)


class Likelihood(Protocol):
    """Of B actions of each of P members.

    Attributes:
        log_prob: [P, B] log-probability of the actions.
        entropy:  [P, B] of what they were drawn from.
    """

    log_prob: Tensor
    entropy: Tensor

    def slope(self, d_log_prob: Tensor, weight: Tensor, gradient: Views) -> Tensor:
        """Return ∂loss/∂output [P, B, A]; for vectors also write that of `log_std`.

        Args:
            d_log_prob: [P, B] ∂loss/∂(log-probability).
            weight:     [P, 1] how the loss falls with the mean entropy.
            gradient:   of the parameters, by name.
        """
        ...


class OfChoices:
    """Of choices [P, B] among A by their logits [P, B, A].

    Kept as [P, A, B]: along the last axis a softmax of two took eight times as long.
    """

    def __init__(self, logits: Tensor, actions: Tensor) -> None:
        self._chosen = actions[:, None]
        self._log_probs = torch.log_softmax(logits.transpose(1, 2).contiguous(), 1)
        self._probs = exp(self._log_probs)
        self.log_prob = self._log_probs.gather(1, self._chosen)[:, 0]
        self.entropy = (self._probs * self._log_probs).sum(1).neg_()

    def slope(self, d_log_prob: Tensor, weight: Tensor, gradient: Views) -> Tensor:
        """Return ∂loss/∂logits [P, B, A]."""
        d, share = d_log_prob[:, None], (weight / d_log_prob.shape[1])[..., None]
        d_logits = (self._log_probs + self.entropy[:, None]).mul_(share).sub_(d).mul_(self._probs)
        return d_logits.scatter_add_(1, self._chosen, d).transpose(1, 2)


class OfVectors:
    """Of vectors [P, B, A] by their means and the logarithms of their deviations [P, A]."""

    def __init__(self, mean: Tensor, log_std: Tensor, actions: Tensor) -> None:
        self._inverse = exp(-log_std)[:, None]
        self._z = (actions - mean).mul_(self._inverse)
        each = self._z.square().mul_(-0.5).sub_(log_std[:, None]).sub_(0.5 * _LOG_2PI)
        self.log_prob = each.sum(-1)
        entropy = (log_std + 0.5 * (1 + _LOG_2PI)).sum(-1, keepdim=True)
        self.entropy = entropy.expand_as(self.log_prob)

    def slope(self, d_log_prob: Tensor, weight: Tensor, gradient: Views) -> Tensor:
        """Return ∂loss/∂mean [P, B, A], and write ∂loss/∂log_std."""
        d = d_log_prob[..., None]
        d_z = d * self._z
        slope = (d_z * self._z).sum(1).sub_(d.sum(1)).sub_(weight)
        gradient["policy.log_std"].copy_(slope)
        return d_z.mul_(self._inverse)
