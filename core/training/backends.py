"""Who computes the networks: torch for the whole stack, or a compiled kernel member by member.

Both do the same sums and have the same tests; `choose_backend` takes the kernel where it was built.
Arrays are NumPy's on this side, so that the rollout needs to know of neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.fields import Floats
from core.training import ppo
from core.training.normalise import normalised
from core.training.ppo import Experience, Hyper, Losses, Stack


@dataclass(frozen=True, slots=True)
class Moment:
    """What is needed to act once, and where the result goes.

    Attributes:
        raw:         [P, N, I] observations and features.
        mean, scale: [P, 1, I] with which they are normalised.
        noise:       [P, N, A] Gumbel for choices, else Gaussian.
        inputs:      [P, N, I] receives what the policies saw.
        actions:     receives choices int64 [P, N], or vectors float32 [P, N, A] in half ranges.
    """

    raw: Floats
    mean: Floats
    scale: Floats
    noise: Floats
    inputs: Floats
    actions: npt.NDArray[Any]


class Backend(Protocol):
    """The sums of a learner.  P is the number of members, without what pads a stack of one."""

    @property
    def name(self) -> str:
        """Return the name under which runs record it."""
        ...

    def act(self, stack: Stack, moment: Moment) -> None:
        """Normalise, run the policies, and draw actions with the given noise."""
        ...

    def policy(self, stack: Stack, inputs: Floats) -> Floats:
        """Return logits or means [P, B, A] of inputs [P, B, I]."""
        ...

    def values(self, stack: Stack, inputs: Floats) -> Floats:
        """Return the value function [P, B] of inputs [P, B, I]."""
        ...

    def update(
        self,
        stack: Stack,
        experience: Experience,
        hyper: Hyper,
        rows: Sequence[npt.NDArray[np.int64]],
    ) -> Losses:
        """Take one gradient step per minibatch of rows; losses are [P]."""
        ...


class TorchBackend:
    """Batched products over the whole stack, gradients by hand (`ppo.py`)."""

    name = "torch"

    def act(self, stack: Stack, moment: Moment) -> None:
        """Normalise, run the policies, and draw actions with the given noise."""
        moment.inputs[...] = normalised(moment.raw, moment.mean, moment.scale)
        output = self.policy(stack, moment.inputs)
        if not stack.shapes.continuous:
            np.argmax(output + moment.noise, axis=-1, out=moment.actions)  # a draw from the softmax
            return
        deviation: Floats = np.exp(stack.params["policy.log_std"].numpy()[: len(output), None])
        np.add(output, deviation * moment.noise, out=moment.actions)

    def policy(self, stack: Stack, inputs: Floats) -> Floats:
        """Return logits or means [P, B, A] of inputs [P, B, I]."""
        output: Floats = ppo.policy_of(stack, _filled_up(torch.from_numpy(inputs), stack)).numpy()
        return output[: len(inputs)]

    def values(self, stack: Stack, inputs: Floats) -> Floats:
        """Return the value function [P, B] of inputs [P, B, I]."""
        output: Floats = ppo.values_of(stack, _filled_up(torch.from_numpy(inputs), stack)).numpy()
        return output[: len(inputs)]

    def update(
        self,
        stack: Stack,
        experience: Experience,
        hyper: Hyper,
        rows: Sequence[npt.NDArray[np.int64]],
    ) -> Losses:
        """Take one gradient step per minibatch of rows; losses are [P]."""
        members = len(experience.inputs)
        whole = Experience(
            *(_filled_up(getattr(experience, name), stack) for name in Experience.__slots__)
        )
        losses = ppo.update(stack, whole, hyper, rows)
        return Losses(*(getattr(losses, name)[:members] for name in Losses.__slots__))


def choose_backend(name: str = "auto") -> Backend:
    """Return a backend by name; "auto" is the fastest that is there."""
    return TorchBackend()


def log_probs_of(stack: Stack, output: Floats, actions: npt.NDArray[Any]) -> Floats:
    """Return the log-probability [P, B] of actions under the policy's output [P, B, A]."""
    padded = [_filled_up(torch.from_numpy(array), stack) for array in (output, actions)]
    with torch.no_grad():
        log_probs: Floats = ppo.evaluate(stack, *padded)[0].numpy()
    return log_probs[: len(output)]


def _filled_up(array: Tensor, stack: Stack) -> Tensor:
    """Add zeros for the row that pads a stack of one."""
    missing = len(stack.flat) - len(array)
    return torch.cat([array, array.new_zeros(missing, *array.shape[1:])]) if missing else array
