"""PPO for a stack of members: one update of all of them from one rollout.

Schulman et al. (arXiv 1707.06347), with the choices of "The 37 implementation details of PPO"
(Huang et al., 2022) that matter for state vectors: orthogonal initial weights, advantages normalised
per minibatch, clipped gradients, and no clipping of the value loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.training.networks import Shapes, Views, backward, exp, forward, layers, power, views
from core.training.settings import LEAST_ROWS, PPOSettings

_BETA1, _BETA2, _ADAM_EPSILON = 0.9, 0.999, 1e-5
_LOG_2PI = math.log(2 * math.pi)


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

    def __post_init__(self) -> None:
        self.params = views(self.flat, self.shapes)
        self.gradient = torch.zeros_like(self.flat)
        self.gradients = views(self.gradient, self.shapes)


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
        advantages: [P, B]
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


@dataclass(frozen=True, slots=True)
class Losses:
    """Means over an update, per member [P]."""

    value: Tensor
    entropy: Tensor
    divergence: Tensor
    clipped: Tensor


@torch.inference_mode()
def update(
    stack: Stack, experience: Experience, hyper: Hyper, rows: Sequence[npt.NDArray[np.int64]]
) -> Losses:
    """Take one gradient step for each minibatch of rows, the same rows for all members."""
    said: list[Losses] = []
    for chosen in rows:
        batch = experience.at(torch.from_numpy(chosen))
        said.append(loss_gradient(stack, batch, hyper))
        descend(stack, hyper)
    return Losses(
        *(torch.stack([getattr(one, n) for one in said]).mean(0) for n in Losses.__slots__)
    )


def minibatches(
    size: int, settings: PPOSettings, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Return row numbers of every minibatch of every epoch.

    All minibatches are nearly equal, and none is too small for a standard deviation.
    """
    count = max(1, min(round(size / settings.minibatch), size // LEAST_ROWS))
    return [
        rows
        for _ in range(settings.epochs)
        for rows in np.array_split(rng.permutation(size), count)
    ]


@torch.no_grad()
def loss_gradient(stack: Stack, batch: Experience, hyper: Hyper) -> Losses:
    """Write ∂loss/∂parameters of every member into `stack.gradient`.

    loss = mean(max(-A·ratio, -A·clip(ratio))) + value·mean((V - return)²) - entropy·mean(H)
    """
    shapes, params = stack.shapes, stack.params
    size = batch.inputs.shape[1]
    policy, value = layers(shapes, "policy"), layers(shapes, "value")

    hidden = forward(params, policy, batch.inputs)
    log_probs, entropy = evaluate(stack, hidden[-1], batch.actions)
    change = log_probs - batch.log_probs
    ratio = exp(change)
    advantages = _standardised(batch.advantages)
    outside = ((ratio > 1 + hyper.clip) & (advantages > 0)) | (
        (ratio < 1 - hyper.clip) & (advantages < 0)
    )
    d_log_prob = (advantages * ratio).masked_fill_(outside, 0.0).neg_().div_(size)
    d_output = _policy_gradient(stack, hidden[-1], batch.actions, d_log_prob, hyper.entropy)
    backward(params, stack.gradients, policy, hidden, d_output)

    hidden = forward(params, value, batch.inputs)
    error = hidden[-1] - batch.returns[..., None]
    backward(params, stack.gradients, value, hidden, error * (hyper.value * (2 / size))[..., None])
    return Losses(
        value=error.square().mean((1, 2)),
        entropy=entropy.mean(1),
        divergence=(ratio - 1 - change).mean(1),
        clipped=outside.float().mean(1),
    )


def evaluate(stack: Stack, output: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probability and entropy [P, B] of actions under the policy's output [P, B, A]."""
    if not stack.shapes.continuous:
        log_probs = torch.log_softmax(output, -1)
        chosen = log_probs.gather(-1, actions[..., None])[..., 0]
        return chosen, -(exp(log_probs) * log_probs).sum(-1)
    log_std = stack.params["policy.log_std"][:, None]
    z = (actions - output) * exp(-log_std)
    log_probs = (-0.5 * z.square() - log_std - 0.5 * _LOG_2PI).sum(-1)
    return log_probs, (log_std + 0.5 * (1 + _LOG_2PI)).sum(-1).expand_as(log_probs)


def _policy_gradient(
    stack: Stack, output: Tensor, actions: Tensor, d_log_prob: Tensor, entropy: Tensor
) -> Tensor:
    """Return ∂loss/∂output [P, B, A]; for continuous actions also write that of `log_std`."""
    size = output.shape[1]
    if stack.shapes.continuous:
        log_std = stack.params["policy.log_std"]
        inverse = exp(-log_std)[:, None]
        z = (actions - output) * inverse
        slope = (d_log_prob[..., None] * (z.square() - 1)).sum(1)
        stack.gradients["policy.log_std"].copy_(slope - entropy)
        return d_log_prob[..., None] * z * inverse
    log_probs = torch.log_softmax(output, -1)
    probs = exp(log_probs)
    d_output = -probs * d_log_prob[..., None]
    d_output.scatter_add_(-1, actions[..., None], d_log_prob[..., None])
    mean = (probs * log_probs).sum(-1, keepdim=True)  # minus the entropy
    return d_output.add_(probs * (log_probs - mean) * (entropy / size)[..., None])


def _standardised(advantages: Tensor) -> Tensor:
    mean = advantages.mean(1, keepdim=True)
    return (advantages - mean) / (advantages.std(1, keepdim=True) + 1e-8)


@torch.no_grad()
def descend(stack: Stack, hyper: Hyper) -> None:
    """Take one step of Adam with every member's gradient clipped to its own norm."""
    norm = stack.gradient.norm(dim=1, keepdim=True)
    stack.gradient.mul_((hyper.max_grad_norm / (norm + 1e-6)).clamp_(max=1.0))
    stack.updates += 1
    stack.first.lerp_(stack.gradient, 1 - _BETA1)
    stack.second.mul_(_BETA2).addcmul_(stack.gradient, stack.gradient, value=1 - _BETA2)
    size = hyper.learning_rate / (1 - power(_BETA1, stack.updates))
    root = (stack.second / (1 - power(_BETA2, stack.updates)).float()).sqrt_().add_(_ADAM_EPSILON)
    step = (stack.first / root).mul_(size.float())
    stack.flat.sub_(step.masked_fill_(~stack.living[:, None], 0.0))


@torch.no_grad()
def values_of(stack: Stack, inputs: Tensor) -> Tensor:
    """Return the value function [P, B] of inputs [P, B, I]."""
    return forward(stack.params, layers(stack.shapes, "value"), inputs)[-1][..., 0]


@torch.no_grad()
def policy_of(stack: Stack, inputs: Tensor) -> Tensor:
    """Return logits or means [P, B, A] of inputs [P, B, I]."""
    return forward(stack.params, layers(stack.shapes, "policy"), inputs)[-1]
