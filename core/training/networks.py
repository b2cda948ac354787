"""Stacks of small tanh networks: P policies and P value functions, one flat tensor [P, n].

Everything is written for the whole stack at once; member p reads and writes row p only, so what
happens to one member never reaches another.  Gradients are written by hand (they cost half of what
autograd's do at this size) and tested against autograd.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from core.training.weight_slopes import room_for, write_slope

Views: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Shapes:
    """The form of one member's networks.

    Attributes:
        inputs:     I, columns that the policy sees (observation and features).
        hidden:     widths of the tanh layers.
        actions:    number of choices, or length of the action vector.
        continuous: whether the action is a vector.
    """

    inputs: int
    hidden: tuple[int, ...]
    actions: int
    continuous: bool

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Return every parameter's name and shape, in the order of the flat tensor."""
        shapes: dict[str, tuple[int, ...]] = {}
        for network, outputs in (("policy", self.actions), ("value", 1)):
            sizes = (self.inputs, *self.hidden)
            for layer, (before, after) in enumerate(pairwise(sizes)):
                shapes[f"{network}.{layer}.weight"] = (after, before)
                shapes[f"{network}.{layer}.bias"] = (after,)
            shapes[f"{network}.out.weight"] = (outputs, self.hidden[-1])
            shapes[f"{network}.out.bias"] = (outputs,)
        if self.continuous:
            shapes["policy.log_std"] = (self.actions,)
        return shapes

    @property
    def size(self) -> int:
        """Return n, the number of parameters of one member."""
        return sum(math.prod(shape) for shape in self.parameters().values())


def views(flat: Tensor, shapes: Shapes) -> dict[str, Tensor]:
    """Return the named parts of a flat tensor [P, n], sharing its memory."""
    named: dict[str, Tensor] = {}
    start = 0
    for name, shape in shapes.parameters().items():
        size = math.prod(shape)
        named[name] = flat[:, start : start + size].view(-1, *shape)
        start += size
    return named


def initial_parameters(
    shapes: Shapes, rng: np.random.Generator, log_std: float
) -> dict[str, np.ndarray]:
    """Draw one member's parameters: orthogonal weights, zero biases, a nearly uniform policy."""
    gains = {"policy.out.weight": 0.01, "value.out.weight": 1.0}
    drawn: dict[str, np.ndarray] = {}
    for name, shape in shapes.parameters().items():
        if name.endswith(".weight"):
            drawn[name] = _orthogonal(shape, rng) * np.float32(gains.get(name, math.sqrt(2)))
        else:
            fill = log_std if name == "policy.log_std" else 0.0
            drawn[name] = np.full(shape, fill, np.float32)
    return drawn


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    rows, columns = shape
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q = q * np.sign(np.diag(r))
    return np.ascontiguousarray(q if rows >= columns else q.T, np.float32)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of P networks and its gradient: views, made once, as each costs a small product's time.

    Attributes:
        weight, d_weight: [P, O, I]
        turned:           the weight as [P, I, O].
        bias:             [P, 1, O]
        d_bias:           [P, O]
        room:             where the product that gives d_weight is made.
    """

    weight: Tensor
    turned: Tensor
    bias: Tensor
    d_weight: Tensor
    d_bias: Tensor
    room: Tensor | None


def layers(shapes: Shapes, network: str) -> list[str]:
    """Return the names of a network's layers, first to last."""
    return [f"{network}.{i}" for i in range(len(shapes.hidden))] + [f"{network}.out"]


def network(params: Views, gradient: Views, names: Sequence[str]) -> tuple[Layer, ...]:
    """Return the layers of these names."""
    return tuple(
        Layer(
            weight=params[f"{name}.weight"],
            turned=params[f"{name}.weight"].transpose(1, 2),
            bias=params[f"{name}.bias"][:, None],
            d_weight=gradient[f"{name}.weight"],
            d_bias=gradient[f"{name}.bias"],
            room=room_for(params[f"{name}.weight"]),
        )
        for name in names
    )


def forward(layers: Sequence[Layer], x: Tensor) -> list[Tensor]:
    """Run a network on x [P, B, I]; return every layer's output, the input first."""
    outputs = [x]
    for layer in layers[:-1]:
        outputs.append(_tanh(_linear(layer, outputs[-1])))
    outputs.append(_linear(layers[-1], outputs[-1]))
    return outputs


def backward(layers: Sequence[Layer], outputs: Sequence[Tensor], d: Tensor) -> None:
    """Write the gradient of a network's parameters, given d = ∂loss/∂(last output) [P, B, O]."""
    for i in range(len(layers) - 1, -1, -1):
        layer = layers[i]
        write_slope(layer.d_weight, d, outputs[i], layer.room)
        torch.sum(d, dim=1, out=layer.d_bias)
        if i:
            d = d * layer.weight if d.shape[2] == 1 else torch.bmm(d, layer.weight)
            d = torch.ops.aten.tanh_backward(d, outputs[i])  # d·(1 - tanh²), in one pass


def _linear(layer: Layer, x: Tensor) -> Tensor:
    if layer.weight.shape[1] == 1:  # one column's product takes another path for a stack of one
        return (x * layer.weight).sum(-1, keepdim=True).add_(layer.bias)
    return torch.bmm(x, layer.turned).add_(layer.bias)  # `baddbmm` took 1.5 times as long


# On the CPU torch takes numbers by whole vectors and rounds what is left over in another way, so a
# member's digits would depend on its place.  NumPy treats all alike, and its tanh was 12 times as fast
# as torch's when measured.


def _tanh(x: Tensor) -> Tensor:
    if x.device.type == "cpu":
        array = x.numpy()
        np.tanh(array, out=array)
        return x
    return x.tanh_()


def exp(x: Tensor) -> Tensor:
    """Return eˣ; an element's digits do not depend on its place."""
    return torch.from_numpy(np.exp(x.numpy())) if x.device.type == "cpu" else x.exp()


def power(base: float, exponent: Tensor) -> Tensor:
    """Return the base to each exponent; an element's digits do not depend on its place."""
    if exponent.device.type == "cpu":
        return torch.from_numpy(np.power(base, exponent.numpy()))
    return torch.pow(base, exponent)
