"""The acting network of somebody else's learner, in the form of our own policies.

Only its numbers leave the process in which it was trained, so the scorer measures it like any other
and nobody reads a pickle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from core.fields import Floats
from core.training.action_space import ActionSpace
from core.training.numpy_policy import RELU, SQUASHED

REACH = 1e3
"""Our actor clips inputs to ±10, theirs does not: inputs are divided by it, weights multiplied."""


@dataclass(frozen=True, slots=True)
class Acting:
    """Layers from the inputs to the output.

    Attributes:
        layers:   linear ones, and the activations between them, tanh or ReLU throughout.
        squashed: whether tanh brings the output into the bounds of the actions; else it is in their
                  own units.
    """

    layers: Sequence[nn.Module]
    squashed: bool = False


def acting_weights(acting: Acting, space: ActionSpace) -> dict[str, Floats]:
    """Return an acting network in the form of our policies (`numpy_policy.py`)."""
    linear = [layer for layer in acting.layers if isinstance(layer, nn.Linear)]
    relu = any(isinstance(layer, nn.ReLU) for layer in acting.layers)
    names = [*(f"policy.{i}" for i in range(len(linear) - 1)), "policy.out"]
    weights: dict[str, Floats] = {}
    for name, layer in zip(names, linear, strict=True):
        weights[f"{name}.weight"] = _array(layer.weight)
        weights[f"{name}.bias"] = _array(layer.bias)
    weights[f"{names[0]}.weight"] *= np.float32(REACH)
    inputs = linear[0].in_features
    weights["normaliser.mean"] = np.zeros(inputs, np.float32)
    weights["normaliser.scale"] = np.full(inputs, 1.0 / REACH, np.float32)
    if relu:
        weights[RELU] = np.ones(1, np.float32)
    if acting.squashed:
        weights[SQUASHED] = np.ones(1, np.float32)
    elif not space.discrete:
        weights["policy.log_std"] = np.zeros(space.size, np.float32)  # not used to act for sure
    return weights


def _array(parameter: torch.Tensor) -> Floats:
    array: Floats = parameter.detach().cpu().numpy().astype(np.float32).copy()
    return array
