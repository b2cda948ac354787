"""Who computes the networks: torch for the whole stack, or a compiled kernel member by member.

Both do the same sums and have the same tests; `choose_backend` takes the kernel where it was built.
Arrays are NumPy's on this side, so that the rollout needs to know of neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.errors import InvalidInput
from core.fields import Floats
from core.training import ppo
from core.training.kernel import Actor as KernelActor
from core.training.kernel import Kernel, Packed, load, why_absent
from core.training.minibatches import Rows
from core.training.normalise import normalised
from core.training.ppo import Experience, Hyper, Losses, Stack


class Networks(Protocol):
    """The networks of P members as they are between two updates, and how they see."""

    def act(self, raw: Floats, noise: Floats, inputs: Floats, actions: npt.NDArray[Any]) -> None:
        """Normalise what is seen, and draw every row's action.

        Args:
            raw:     [P, N, I] observations and features.
            noise:   [P, N, A] Gumbel for choices, else Gaussian.
            inputs:  [P, N, I] is written: what the policies saw.
            actions: int64 [P, N] choices, or float32 [P, N, A] in half ranges, is written.
        """
        ...

    def policy(self, inputs: Floats) -> Floats:
        """Return logits or means [P, B, A] of normalised inputs [P, B, I]."""
        ...

    def values(self, inputs: Floats) -> Floats:
        """Return the value function [P, B] of normalised inputs [P, B, I]."""
        ...


class Backend(Protocol):
    """The sums of a learner.  P is the number of members, without what pads a stack of one."""

    @property
    def name(self) -> str:
        """Return the name under which runs record it."""
        ...

    def networks(self, stack: Stack, mean: Floats, scale: Floats) -> Networks:
        """Return the networks as they are now, seeing through statistics [P, 1, I]."""
        ...

    def update(self, stack: Stack, experience: Experience, hyper: Hyper, rows: Rows) -> Losses:
        """Take one gradient step per minibatch of rows; losses are [P]."""
        ...


@dataclass(frozen=True, slots=True)
class TorchNetworks:
    """Batched products over the whole stack."""

    stack: Stack
    mean: Floats
    scale: Floats

    def act(self, raw: Floats, noise: Floats, inputs: Floats, actions: npt.NDArray[Any]) -> None:
        """Normalise what is seen, and draw every row's action."""
        inputs[...] = normalised(raw, self.mean, self.scale)
        output = self.policy(inputs)
        if not self.stack.shapes.continuous:
            np.argmax(output + noise, axis=-1, out=actions)  # Gumbel: a draw from the softmax
            return
        deviation: Floats = np.exp(self.stack.params["policy.log_std"].numpy()[: len(raw), None])
        np.add(output, deviation * noise, out=actions)

    def policy(self, inputs: Floats) -> Floats:
        """Return logits or means [P, B, A] of normalised inputs [P, B, I]."""
        filled = _filled_up(torch.from_numpy(inputs), self.stack)
        output: Floats = ppo.policy_of(self.stack, filled).numpy()
        return output[: len(inputs)]

    def values(self, inputs: Floats) -> Floats:
        """Return the value function [P, B] of normalised inputs [P, B, I]."""
        filled = _filled_up(torch.from_numpy(inputs), self.stack)
        output: Floats = ppo.values_of(self.stack, filled).numpy()
        return output[: len(inputs)]


class TorchBackend:
    """Gradients by hand over the whole stack (`ppo.py`)."""

    name = "torch"

    def networks(self, stack: Stack, mean: Floats, scale: Floats) -> TorchNetworks:
        """Return the networks as they are now."""
        return TorchNetworks(stack, mean, scale)

    def update(self, stack: Stack, experience: Experience, hyper: Hyper, rows: Rows) -> Losses:
        """Take one gradient step per minibatch of rows; losses are [P]."""
        members = len(experience.inputs)
        whole = Experience(
            *(_filled_up(getattr(experience, name), stack) for name in Experience.__slots__)
        )
        losses = ppo.update(stack, whole, hyper, rows)
        return Losses(*(getattr(losses, name)[:members] for name in Losses.__slots__))


@dataclass(frozen=True, slots=True)
class KernelNetworks:
    """Networks laid out for the compiled kernel; one call for each step of the environments."""

    kernel: Kernel
    packed: Packed
    actor: KernelActor

    def act(self, raw: Floats, noise: Floats, inputs: Floats, actions: npt.NDArray[Any]) -> None:
        """Normalise what is seen, and draw every row's action."""
        self.actor.act(raw, noise, inputs, actions)

    def policy(self, inputs: Floats) -> Floats:
        """Return logits or means [P, B, A] of normalised inputs [P, B, I]."""
        return self.kernel.forward(self.packed, "policy", inputs)

    def values(self, inputs: Floats) -> Floats:
        """Return the value function [P, B] of normalised inputs [P, B, I]."""
        return self.kernel.forward(self.packed, "value", inputs)[..., 0]


@dataclass(frozen=True, slots=True)
class KernelBackend:
    """The compiled kernel: one call for a whole update."""

    kernel: Kernel
    name: str = "kernel"

    def networks(self, stack: Stack, mean: Floats, scale: Floats) -> KernelNetworks:
        """Return the networks as they are now."""
        packed = self.kernel.pack(stack.shapes, stack.flat[: len(mean)])
        return KernelNetworks(self.kernel, packed, self.kernel.actor(packed, mean, scale))

    def update(self, stack: Stack, experience: Experience, hyper: Hyper, rows: Rows) -> Losses:
        """Take one gradient step per minibatch of rows; losses are [P]."""
        said = self.kernel.update(stack, experience, hyper, rows)
        return Losses(*(torch.from_numpy(one) for one in said))


def choose_backend(name: str = "auto") -> Backend:
    """Return a backend by name: "torch", "kernel", or "auto" for the kernel where it was built.

    Raises:
        InvalidInput: there is no such backend, or no kernel on this machine.
    """
    kernel = load() if name in ("auto", "kernel") else None
    if kernel is not None:
        return KernelBackend(kernel)
    if name in ("auto", "torch"):
        return TorchBackend()
    raise InvalidInput(
        repr(name), expected="auto, torch or kernel", where="backend", hint=why_absent() or None
    )


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
