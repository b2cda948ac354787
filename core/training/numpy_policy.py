"""The trained policies of one arm, as the actor runs them: checked weights and a forward pass.

Weights come as safetensors bytes from a process in which generated code ran, so every name, shape,
type, size and number is checked before use.

    policy.{i}.weight, policy.{i}.bias       hidden layers, then policy.out
    policy.log_std                           for vectors, unless the output is squashed
    normaliser.mean, normaliser.scale        what is subtracted from the inputs and multiplied
    activation.relu = [1]                    if there: hidden layers are ReLU, else tanh
    output.tanh = [1]                        if there, for vectors: the output is squashed, and ±1 are
                                             the bounds; else it is in the environment's own units
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from core.errors import ScoringFailed
from core.fields import Floats
from core.training.action_space import ActionSpace
from core.training.runtime import MOST_FEATURES

MOST_BYTES = 32 * 1024**2
MOST_LAYERS = 8
MOST_UNITS = 4096
LARGEST_WEIGHT = 1e6
LARGEST_SHIFT = 1e30  # of what is in units of the environment or a feature, which may be any
INPUT_CLIP = 10.0
_FREE = frozenset({"normaliser.mean", "normaliser.scale", "policy.out.bias"})
RELU, SQUASHED = "activation.relu", "output.tanh"


@dataclass(frozen=True, slots=True)
class Policies:
    """P policies of equal shape, stacked: layers as ([P, in, out], [P, 1, out])."""

    layers: tuple[tuple[Floats, Floats], ...]
    mean: Floats  # [P, 1, D + F]
    scale: Floats  # [P, 1, D + F]
    space: ActionSpace
    relu: bool = False
    squashed: bool = False

    @property
    def count(self) -> int:
        """Return P."""
        return len(self.mean)

    def act(self, inputs: Floats) -> Floats:
        """Choose an action per row, without chance.

        Args:
            inputs: [P, B, D + F] observations followed by features.

        Returns:
            [P, B, 1] indices as floats when discrete, else [P, B, A] within the bounds.
        """
        x = np.clip((inputs - self.mean) * self.scale, -INPUT_CLIP, INPUT_CLIP)
        for weight, bias in self.layers[:-1]:
            x = x @ weight + bias
            x = np.asarray(np.maximum(x, 0.0) if self.relu else np.tanh(x), np.float32)
        weight, bias = self.layers[-1]
        x = x @ weight + bias
        if self.space.discrete:
            chosen: Floats = x.argmax(-1, keepdims=True).astype(np.float32)
            return chosen
        low, high = self.space.low, self.space.high
        if self.squashed:
            x = np.asarray((low + high) / 2 + (high - low) / 2 * np.tanh(x), np.float32)
        action: Floats = np.clip(x, low, high)
        return action

    def slopes(self, inputs: Floats) -> Floats:
        """Return how strongly each input moves what the policies do, in the input's own unit.

        It is the mean over rows and outputs of |∂output/∂input|.  Outputs are the choices' values,
        less their mean (only differences choose), or actions before clipping, in half ranges.

        Args:
            inputs: [P, B, D + F] observations followed by features.

        Returns:
            [P, D + F]
        """
        seen = (inputs - self.mean) * self.scale
        outputs = [np.clip(seen, -INPUT_CLIP, INPUT_CLIP)]
        for weight, bias in self.layers[:-1]:
            x = outputs[-1] @ weight + bias
            outputs.append(np.maximum(x, 0.0) if self.relu else np.tanh(x))
        slope = self._output_slopes(outputs[-1])  # [P, B, O, units], then back to the inputs
        for (weight, _), output in zip(self.layers[-2::-1], outputs[:0:-1], strict=True):
            through = (output > 0).astype(np.float32) if self.relu else 1.0 - output**2
            slope = (slope * through[:, :, None]) @ weight[:, None].swapaxes(-1, -2)
        strength = np.abs(slope).mean(axis=2) * (np.abs(seen) < INPUT_CLIP)
        found: Floats = strength.mean(axis=1) * self.scale[:, 0]
        return found

    def _output_slopes(self, hidden: Floats) -> Floats:
        """Return ∂output/∂(last hidden layer), [P, B, O, units] or [P, 1, O, units]."""
        weight, bias = self.layers[-1]
        turned = weight.swapaxes(-1, -2)[:, None]
        if self.space.discrete:
            return np.asarray(turned - turned.mean(axis=2, keepdims=True), np.float32)
        if not self.squashed:
            half = (self.space.high - self.space.low) / 2
            return np.asarray(turned / np.where(half > 0, half, 1)[:, None], np.float32)
        return np.asarray(turned * (1.0 - np.tanh(hidden @ weight + bias)[..., None] ** 2))


def read_weights(content: bytes, observation_size: int, space: ActionSpace) -> dict[str, Floats]:
    """Read the weights of one policy and hold them to their form.

    Args:
        content:          safetensors bytes.
        observation_size: D; a policy has D + F inputs, F from 0 to MOST_FEATURES.
        space:            a policy has as many outputs as choices, or as numbers in an action.

    Raises:
        ScoringFailed: not safetensors, other names or shapes, too large, or not finite.
    """
    if len(content) > MOST_BYTES:
        raise _unfit(f"{len(content)} bytes", f"at most {MOST_BYTES}")
    try:
        weights: dict[str, Floats] = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise _unfit(f"{type(error).__name__}", "readable safetensors") from error
    _hold_names(weights, space)
    inputs = weights["normaliser.mean"].size
    if not observation_size <= inputs <= observation_size + MOST_FEATURES:
        raise _unfit(f"{inputs} inputs", f"{observation_size} and up to {MOST_FEATURES} more")
    for name, expected in _expected_shapes(weights, inputs, space).items():
        _hold_tensor(name, weights[name], expected)
    return weights


def stack_policies(weights: Sequence[Mapping[str, Floats]], space: ActionSpace) -> Policies:
    """Stack policies of equal shape.

    Raises:
        ScoringFailed: their layers differ.
    """
    if len({tuple((k, w[k].shape) for k in sorted(w)) for w in weights}) != 1:
        raise _unfit("policies of different shapes", "equal shapes within one arm")
    names = _layer_names(weights[0])
    layers = tuple(
        (
            np.stack([w[f"{name}.weight"].T for w in weights]),
            np.stack([w[f"{name}.bias"][None] for w in weights]),
        )
        for name in names
    )
    return Policies(
        layers,
        np.stack([w["normaliser.mean"][None] for w in weights]),
        np.stack([w["normaliser.scale"][None] for w in weights]),
        space,
        relu=RELU in weights[0],
        squashed=SQUASHED in weights[0],
    )


def _layer_names(weights: Mapping[str, Floats]) -> list[str]:
    hidden = sum(1 for name in weights if name.endswith(".weight")) - 1
    return [*(f"policy.{index}" for index in range(hidden)), "policy.out"]


def _hold_names(weights: Mapping[str, Floats], space: ActionSpace) -> None:
    layers = _layer_names(weights)
    expected = {f"{name}.{part}" for name in layers for part in ("weight", "bias")}
    expected |= {"normaliser.mean", "normaliser.scale"}
    expected |= {RELU} & set(weights)
    if not space.discrete:
        expected.add(SQUASHED if SQUASHED in weights else "policy.log_std")
    if set(weights) != expected or not 1 <= len(layers) <= MOST_LAYERS:
        found = sorted(name[:40] for name in set(weights) ^ expected)[:8]
        raise _unfit(f"a difference in {found}", "policy layers and a normaliser, nothing else")


def _expected_shapes(
    weights: Mapping[str, Floats], inputs: int, space: ActionSpace
) -> dict[str, tuple[int, ...]]:
    expected: dict[str, tuple[int, ...]] = {
        "normaliser.mean": (inputs,),
        "normaliser.scale": (inputs,),
    }
    width = inputs
    for name in _layer_names(weights):
        units = space.size if name == "policy.out" else _units(weights[f"{name}.bias"])
        expected[f"{name}.weight"], expected[f"{name}.bias"] = (units, width), (units,)
        width = units
    if not space.discrete and SQUASHED not in weights:
        expected["policy.log_std"] = (space.size,)
    return expected | {marker: (1,) for marker in (RELU, SQUASHED) if marker in weights}


def _units(bias: Floats) -> int:
    if bias.ndim != 1 or not 1 <= len(bias) <= MOST_UNITS:
        raise _unfit(f"a hidden layer of shape {bias.shape}", f"1 to {MOST_UNITS} units")
    return len(bias)


def _hold_tensor(name: str, tensor: Floats, shape: tuple[int, ...]) -> None:
    if tensor.dtype != np.float32 or tensor.shape != shape:
        raise _unfit(f"{tensor.dtype} {tensor.shape} in {name}", f"float32 {shape}")
    if name in (RELU, SQUASHED) and tensor[0] != 1.0:
        raise _unfit(f"{tensor[0]} in {name}", "1, or no such tensor")
    largest = LARGEST_SHIFT if name in _FREE else LARGEST_WEIGHT
    if not np.isfinite(tensor).all() or np.abs(tensor).max(initial=0.0) > largest:
        raise _unfit(f"non-finite or huge numbers in {name}", f"numbers up to ±{largest:g}")


def _unfit(found: str, expected: str) -> ScoringFailed:
    return ScoringFailed(found, expected=expected, where="weights of a policy")
