"""Stacks of ReLU networks for the off-policy learners, with Adam: every row of a stack is one network.

Everything is written for all rows at once and no row reads another.  Gradients are written by hand
and tested against autograd, which keeps threads of its own and does not like the fork by which a pack
is started.

A row's digits depend neither on its place nor on how many others there are.  A product of one matrix
takes another path in torch than a product of many, so it is computed twice; and what is left over
when numbers are taken by whole vectors is rounded in another way, so rows are padded to whole ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from core.fields import Floats
from core.training.weight_slopes import room_for, write_slope

_VECTOR = 64  # numbers; a multiple of what any processor takes at once
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(slots=True)
class Stack:
    """S networks of equal form.

    Attributes:
        sizes:     widths from the inputs to the outputs; ReLU between, nothing after the last.
        flat:      [S, n] parameters: weight [out, in] and bias [out] of each layer.
        gradient:  [S, n] what `backward` wrote last.
    """

    sizes: tuple[int, ...]
    flat: Tensor
    gradient: Tensor = field(init=False)
    _weights: list[Tensor] = field(init=False)
    _biases: list[Tensor] = field(init=False)
    _weight_slopes: list[Tensor] = field(init=False)
    _bias_slopes: list[Tensor] = field(init=False)
    _rooms: list[Tensor | None] = field(init=False)

    def __post_init__(self) -> None:
        self.gradient = torch.zeros_like(self.flat)
        self._weights, self._biases = _views(self.flat, self.sizes)
        self._weight_slopes, self._bias_slopes = _views(self.gradient, self.sizes)
        self._rooms = [room_for(weight) for weight in self._weights]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Run the networks on x [S, B, in]; return every layer's output, the input first."""
        outputs = [x]
        last = len(self._weights) - 1
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            y = _product(outputs[-1], weight.transpose(1, 2), bias[:, None])
            outputs.append(y.relu_() if i < last else y)
        return outputs

    def backward(self, outputs: Sequence[Tensor], d: Tensor) -> None:
        """Write `gradient`, given d = ∂loss/∂(last output) [S, B, out]."""
        for i in range(len(self._weights) - 1, -1, -1):
            write_slope(self._weight_slopes[i], d, outputs[i], self._rooms[i])
            self._bias_slopes[i].copy_(d.sum(1))
            if i:
                d = _through_relu(_product(d, self._weights[i]), outputs[i])

    def input_slope(self, outputs: Sequence[Tensor], d: Tensor) -> Tensor:
        """Return ∂loss/∂input [S, B, in]; the gradient of the parameters stays as it is."""
        for i in range(len(self._weights) - 1, -1, -1):
            d = _product(d, self._weights[i])
            if i:
                d = _through_relu(d, outputs[i])
        return d

    def row(self, flat: Tensor, row: int, inputs: int) -> dict[str, Tensor]:
        """Return views of one row of a tensor like `flat` by layer; the first cut to its inputs."""
        weights, biases = _views(flat, self.sizes)
        named: dict[str, Tensor] = {}
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            named[f"{i}.weight"] = weight[row] if i else weight[row][:, :inputs]
            named[f"{i}.bias"] = bias[row]
        return named

    def draw(self, row: int, inputs: int, rng: np.random.Generator) -> None:
        """Draw a row's parameters uniformly within ±1/√inputs of each layer, as torch does.

        What pads the inputs keeps zero weights.
        """
        named = self.row(self.flat, row, inputs)
        for i in range(len(self.sizes) - 1):
            weight, bias = named[f"{i}.weight"], named[f"{i}.bias"]
            bound = 1 / math.sqrt(weight.shape[1])
            for part in (weight, bias):
                drawn = rng.uniform(-bound, bound, tuple(part.shape)).astype(np.float32)
                part.copy_(torch.from_numpy(drawn))


def _product(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """Return a·b, or c + a·b, for every row; digits are those of a stack of two, whatever its size."""
    if len(a) == 1:  # expanded, not copied: another layout would be another way of computing
        third = None if c is None else c.expand(2, -1, -1)
        return _many(a.expand(2, -1, -1), b.expand(2, -1, -1), third)[:1]
    return _many(a, b, c)


def _many(a: Tensor, b: Tensor, c: Tensor | None) -> Tensor:
    return torch.bmm(a, b) if c is None else torch.baddbmm(c, a, b)


def _through_relu(d: Tensor, output: Tensor) -> Tensor:
    """Let d pass where the output of a ReLU is positive; where a mask was set took 20 times as long."""
    return d.mul_(output.sign())


def new_stack(sizes: Sequence[int], rows: int, device: torch.device) -> Stack:
    """Return a stack of zeros."""
    count = sum((before + 1) * after for before, after in pairwise(sizes))
    padded = count + -count % _VECTOR
    return Stack(tuple(sizes), torch.zeros(rows, padded, device=device))


def _views(flat: Tensor, sizes: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    weights, biases, start = [], [], 0
    for before, after in pairwise(sizes):
        stop = start + before * after
        weights.append(flat[:, start:stop].view(-1, after, before))
        biases.append(flat[:, stop : stop + after])
        start = stop + after
    return weights, biases


@dataclass(slots=True)
class Adam:
    """Adam for the rows of a tensor [S, n], each with its own learning rate and count of updates."""

    values: Tensor
    rate: Tensor  # [S, 1]
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)
    updates: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.first = torch.zeros_like(self.values)
        self.second = torch.zeros_like(self.values)
        self.updates = torch.zeros(
            len(self.values), 1, dtype=torch.float64, device=self.values.device
        )

    def descend(self, gradient: Tensor, learning: Tensor | None) -> None:
        """Take one step; rows that do not learn keep everything as it is.

        Args:
            gradient: [S, n]
            learning: bool [S]; None: all rows learn.
        """
        before = None if learning is None else [part.clone() for part in self._parts()]
        self.updates += 1
        self.first.lerp_(gradient, 1 - _BETA1)
        self.second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        root = (1 - evenly(lambda t: _BETA2**t, self.updates)).sqrt_().float()
        size = (self.rate / (1 - evenly(lambda t: _BETA1**t, self.updates))).float()
        step = self.second.sqrt().div_(root).add_(_EPSILON).reciprocal_()
        self.values.sub_(step.mul_(self.first).mul_(size))
        if before is not None and learning is not None:
            for part, old in zip(self._parts(), before, strict=True):
                part.copy_(torch.where(learning[:, None], part, old))

    def _parts(self) -> list[Tensor]:
        return [self.values, self.first, self.second, self.updates]


def evenly(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply an elementwise function to x [S, ...] so that a row's digits do not depend on its place.

    exp, tanh and their like are rounded differently within and outside of whole vectors.
    """
    rows = x.reshape(len(x), -1)
    width = rows.shape[1]
    padded = pad(rows, (0, -width % _VECTOR))
    return function(padded)[:, :width].reshape(x.shape)


def memory_of(
    name: str, stack: Stack, adam: Adam | None, row: int, inputs: int
) -> dict[str, Tensor]:
    """Return views of all that one row remembers: its parameters, and Adam's moments of them."""
    parts = {name: stack.flat}
    named: dict[str, Tensor] = {}
    if adam is not None:
        parts |= {f"{name}.first": adam.first, f"{name}.second": adam.second}
        named[f"{name}.updates"] = adam.updates[row]
    for prefix, flat in parts.items():
        own = stack.row(flat, row, inputs)
        named |= {f"{prefix}.{layer}": view for layer, view in own.items()}
    return named


def clip_rows(gradient: Tensor, most: Tensor) -> None:
    """Scale down the rows of a gradient [S, n] whose norm is above their own most [S, 1]."""
    norm = gradient.norm(dim=1, keepdim=True)
    gradient.mul_((most / (norm + 1e-6)).clamp_(max=1.0))


def column(values: Sequence[float], device: torch.device) -> Tensor:
    """Return one number per row as [S, 1]."""
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None]


@dataclass(frozen=True, slots=True)
class Batch:
    """A minibatch of B transitions for each of P members.

    Attributes:
        inputs, following: [P, B, I] what the policies see before and after, normalised.
        actions:   int64 [P, B] choices, or float32 [P, B, A] in half action ranges.
        rewards:   [P, B]
        continues: [P, B] 0 where the environment's own rule ended the episode, else 1: what a time
                   limit cut goes on as far as values are concerned.
    """

    inputs: Tensor
    following: Tensor
    actions: Tensor
    rewards: Tensor
    continues: Tensor


Said: TypeAlias = Mapping[str, Tensor]
"""What a learner says of an update, name -> [P]."""


class Learner(Protocol):
    """What a pack needs of a learner of P members."""

    def start(self, member: int, inputs: int, rng: np.random.Generator) -> None:
        """Draw a member's networks; it has its own number of inputs, the rest is padding."""
        ...

    def silence(self, member: int) -> None:
        """Set a member's networks to zero, because it cannot go on."""
        ...

    def draw_actions(self, rng: np.random.Generator, steps: int, envs: int) -> Floats:
        """Draw the chance of T steps of one member, [T, N, ...]."""
        ...

    def act(self, inputs: Tensor, noise: Tensor, explores: Tensor, progress: float) -> Tensor:
        """Return choices [P, N], or actions [P, N, A] in half ranges."""
        ...

    def draw_updates(self, rng: np.random.Generator, updates: int, size: int) -> Floats:
        """Draw the chance of U updates of one member with minibatches of B, [U, B, ...]."""
        ...

    def update(self, batch: Batch, noise: Tensor, learning: Tensor | None) -> Said:
        """Learn once from a minibatch per member."""
        ...

    def after_steps(self, before: int, after: int) -> None:
        """Hear that members have come from `before` to `after` environment steps."""
        ...

    def policy(self, member: int, inputs: int) -> dict[str, Tensor]:
        """Return a member's policy as `core.training.numpy_policy` reads it, without normaliser."""
        ...

    def memory(self, member: int, inputs: int) -> dict[str, Tensor]:
        """Return views of all that a member must remember from one rung to the next."""
        ...

    def finite(self) -> Tensor:
        """Return bool [P]: whether all of a member's numbers are finite."""
        ...
