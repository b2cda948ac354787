"""PPO for a stack of members: one update of all of them from one rollout.

Schulman et al. (arXiv 1707.06347), with the choices of "The 37 implementation details of PPO"
(Huang et al., 2022) that matter for state vectors: orthogonal initial weights, advantages normalised
per minibatch, clipped gradients, and no clipping of the value loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from core.fields import Floats
from core.training.adam import Pace, pace, step
from core.training.distributions import Likelihood, OfChoices, OfVectors
from core.training.minibatches import Rows, in_runs, shares
from core.training.networks import (
    Layer,
    Shapes,
    Views,
    backward,
    exp,
    forward,
    layers,
    network,
    views,
)
from core.training.settings import PPOSettings


@dataclass(slots=True)
class Stack:
    """The parameters of P members and what Adam remembers of them.

    A stack of one has a second, dead row: with a single matrix, batched products take another path
    and round differently, and a member's curve must not depend on its pack.  For the same reason
    environments and minibatches should come in fours: otherwise torch's products round by where in
    memory a member lies.  (The compiled kernel has neither habit.)

    Attributes:
        flat, first, second: [P, n] parameters and their first and second moments.
        updates:             [P, 1] gradient steps so far.
        living:              [P] members that still learn; the others keep their parameters.
    """

    shapes: Shapes
    flat: Tensor
    first: Tensor
    second: Tensor
    updates: Tensor
    living: Tensor
    params: Views = field(init=False)
    gradient: Tensor = field(init=False)
    gradients: Views = field(init=False)
    policy: tuple[Layer, ...] = field(init=False)
    value: tuple[Layer, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.params = views(self.flat, self.shapes)
        self.gradient = torch.zeros_like(self.flat)
        self.gradients = views(self.gradient, self.shapes)
        self.policy, self.value = (
            network(self.params, self.gradients, layers(self.shapes, name))
            for name in ("policy", "value")
        )


def new_stack(shapes: Shapes, members: int) -> Stack:
    """Return a stack of zeros."""
    rows = max(2, members)
    flat = torch.zeros(rows, shapes.size)
    return Stack(
        shapes=shapes,
        flat=flat,
        first=torch.zeros_like(flat),
        second=torch.zeros_like(flat),
        updates=torch.zeros(rows, 1, dtype=torch.float64),
        living=torch.arange(rows) < members,
    )


@dataclass(frozen=True, slots=True)
class Hyper:
    """What may differ from member to member, each [P, 1] float32; see `PPOSettings`."""

    learning_rate: Tensor
    clip: Tensor
    entropy: Tensor
    value: Tensor
    max_grad_norm: Tensor


def hyper_of(settings: Sequence[PPOSettings]) -> Hyper:
    """Return the members' settings side by side; a stack of one repeats its own."""
    rows = [*settings, *settings] if len(settings) == 1 else settings
    return Hyper(
        *(torch.tensor([[getattr(s, name)] for s in rows]).float() for name in Hyper.__slots__)
    )


@dataclass(frozen=True, slots=True)
class Experience:
    """What a rollout gave, ready for the update; B = steps × environments of one member.

    Attributes:
        inputs:     [P, B, I] normalised policy inputs.
        actions:    [P, B] choices, or [P, B, A] actions before clipping, in half ranges.
        log_probs:  [P, B] under the policy that acted.
        advantages: [P, B]; in a minibatch standardised within it.
        returns:    [P, B] targets of the value function.
    """

    inputs: Tensor
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor

    def at(self, rows: Tensor) -> Experience:
        """Return the same rows of every member."""
        return Experience(*(getattr(self, n).index_select(1, rows) for n in Experience.__slots__))

    def minibatch(self, rows: Tensor) -> Experience:
        """Return the same rows of every member, to learn from."""
        chosen = self.at(rows)
        return replace(chosen, advantages=_standardised(chosen.advantages))

    def minibatches(self, rows: Rows) -> list[Experience]:
        """Return several minibatches, gathered at once: one by one took a tenth of an update."""
        sizes = [len(one) for one in rows]
        chosen = self.at(torch.from_numpy(np.concatenate(rows)))
        parts = [getattr(chosen, name).split(sizes, 1) for name in Experience.__slots__]
        if len(set(sizes)) > 1:
            parts[_ADVANTAGES] = [_standardised(part) for part in parts[_ADVANTAGES]]
        else:
            apart = chosen.advantages.view(-1, len(sizes), sizes[0])
            parts[_ADVANTAGES] = _standardised(apart).unbind(1)
        return [Experience(*one) for one in zip(*parts, strict=True)]


_ADVANTAGES = Experience.__slots__.index("advantages")


@dataclass(frozen=True, slots=True)
class Losses:
    """Means over an update, per member [P]."""

    value: Tensor
    entropy: Tensor
    divergence: Tensor
    clipped: Tensor


@dataclass(frozen=True, slots=True)
class Seen:
    """What a gradient step saw of its minibatch, [P, B] each; means are left for later."""

    error: Tensor
    entropy: Tensor
    ratio: Tensor
    change: Tensor
    outside: Tensor

    def losses(self, shares: Floats | None = None) -> Losses:
        """Return sums over the rows, each counting its share [B]; means unless they are given."""
        divergence = self.ratio - 1 - self.change
        said = torch.stack((self.error.square(), self.entropy, divergence, self.outside.float()))
        means = said.mean(-1) if shares is None else (said * torch.from_numpy(shares)).sum(-1)
        return Losses(*means.unbind())


@torch.inference_mode()
def update(stack: Stack, experience: Experience, hyper: Hyper, rows: Rows) -> Losses:
    """Take one gradient step for each minibatch of rows, the same rows for all members."""
    said = [
        _several_steps(stack, experience, hyper, run).losses(shares(run, len(rows)))
        for run in in_runs(rows, experience.inputs.shape[1])
    ]
    return Losses(
        *(torch.stack([getattr(one, name) for one in said]).sum(0) for name in Losses.__slots__)
    )


def _several_steps(stack: Stack, experience: Experience, hyper: Hyper, rows: Rows) -> Seen:
    """Take some gradient steps; what does not depend on the one before is done for all at once."""
    ahead = torch.arange(1, len(rows) + 1).view(-1, 1, 1)
    paces = pace(stack.updates + ahead, hyper.learning_rate)
    seen: list[Seen] = []
    for batch, size, epsilon in zip(
        experience.minibatches(rows), paces.size, paces.epsilon, strict=True
    ):
        seen.append(loss_gradient(stack, batch, hyper))
        descend(stack, hyper, Pace(size, epsilon))
    return Seen(*(torch.cat([getattr(one, n) for one in seen], 1) for n in Seen.__slots__))


def loss_gradient(stack: Stack, batch: Experience, hyper: Hyper) -> Seen:
    """Write ∂loss/∂parameters of every member into `stack.gradient`, given a minibatch.

    loss = mean(max(-A·ratio, -A·clip(ratio))) + value·mean((V - return)²) - entropy·mean(H)
    """
    size = batch.inputs.shape[1]
    hidden = forward(stack.policy, batch.inputs)
    acted = _likelihood(stack, hidden[-1], batch.actions)
    change = acted.log_prob - batch.log_probs
    ratio = exp(change)
    d_log_prob = batch.advantages * ratio
    outside = d_log_prob > batch.advantages * ratio.clamp(1 - hyper.clip, 1 + hyper.clip)
    d_log_prob.mul_(-1 / size).masked_fill_(outside, 0.0)
    d_output = acted.slope(d_log_prob, hyper.entropy, stack.gradients)
    backward(stack.policy, hidden, d_output)

    hidden = forward(stack.value, batch.inputs)
    error = hidden[-1] - batch.returns[..., None]
    backward(stack.value, hidden, error * (hyper.value * (2 / size))[..., None])
    return Seen(error[..., 0], acted.entropy, ratio, change, outside)


def evaluate(stack: Stack, output: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probability and entropy [P, B] of actions under the policy's output [P, B, A]."""
    acted = _likelihood(stack, output, actions)
    return acted.log_prob, acted.entropy


def _likelihood(stack: Stack, output: Tensor, actions: Tensor) -> Likelihood:
    if not stack.shapes.continuous:
        return OfChoices(output, actions)
    return OfVectors(output, stack.params["policy.log_std"], actions)


def _standardised(advantages: Tensor) -> Tensor:
    """Bring advantages [..., B] to mean 0 and deviation 1."""
    mean = advantages.mean(-1, keepdim=True)
    return (advantages - mean).div_(advantages.std(-1, keepdim=True).add_(1e-8))


def descend(stack: Stack, hyper: Hyper, its: Pace | None = None) -> None:
    """Take one step of Adam with every member's gradient clipped to its own norm.

    The pace is that of the step's number; it can be given where it was computed before.
    """
    norm = torch.linalg.vector_norm(stack.gradient, dim=1, keepdim=True)
    stack.gradient.mul_((hyper.max_grad_norm / norm.add_(1e-6)).clamp_(max=1.0))
    stack.updates += 1
    its = its or pace(stack.updates, hyper.learning_rate)
    step(stack.flat, stack.gradient, (stack.first, stack.second), its, _still(stack))


def _still(stack: Stack) -> Tensor | None:
    """Return which rows stay as they are; None if all move, which on a device nobody waits to hear."""
    if stack.flat.device.type == "cpu" and bool(stack.living.all()):
        return None
    return ~stack.living[:, None]


def values_of(stack: Stack, inputs: Tensor) -> Tensor:
    """Return the value function [P, B] of inputs [P, B, I]."""
    return forward(stack.value, inputs)[-1][..., 0]


def policy_of(stack: Stack, inputs: Tensor) -> Tensor:
    """Return logits or means [P, B, A] of inputs [P, B, I]."""
    return forward(stack.policy, inputs)[-1]
