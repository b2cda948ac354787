"""How the learner learns: settings by name, checked at the door."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from core.errors import InvalidInput
from core.records import Json


@dataclass(frozen=True, slots=True)
class PPOSettings:
    """Settings of PPO; the defaults are meant for state vectors and 10⁵ to 10⁶ steps.

    Attributes:
        rollout:       steps per environment between two updates.
        minibatch:     transitions per gradient step and member; at most one rollout's.
        epochs:        passes over a rollout.
        learning_rate: of Adam; constant unless `anneal`.
        anneal:        lower the learning rate linearly to 0 at the last rung's last step.
        gamma, gae_lambda: discount and trace decay.
        clip:          of the probability ratio.
        entropy:       weight of the entropy bonus.
        value:         weight of the value loss.
        max_grad_norm: gradients are clipped per member.
        hidden:        widths of the tanh layers, the same for policy and value.
        log_std:       initial log standard deviation of continuous actions, in half action ranges.
        normalise_observations, normalise_rewards: by running statistics, per member.
    """

    rollout: int = 128
    minibatch: int = 256
    epochs: int = 5
    learning_rate: float = 1e-3
    anneal: bool = False
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.0
    value: float = 0.5
    max_grad_norm: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    log_std: float = 0.0
    normalise_observations: bool = True
    normalise_rewards: bool = True


_BOUNDS: Mapping[str, tuple[float, float]] = {
    "rollout": (1, 65_536),
    "minibatch": (2, 1_048_576),
    "epochs": (1, 100),
    "learning_rate": (1e-8, 1.0),
    "gamma": (0.0, 1.0),
    "gae_lambda": (0.0, 1.0),
    "clip": (0.01, 10.0),
    "entropy": (0.0, 10.0),
    "value": (0.0, 100.0),
    "max_grad_norm": (1e-3, 1e6),
    "log_std": (-5.0, 2.0),
}
_LAYERS, _WIDTH = 4, 1024


def read_settings(given: Json) -> PPOSettings:
    """Read settings by name; what is not named keeps its default.

    >>> read_settings({"learning_rate": 3e-4}).learning_rate
    0.0003

    Raises:
        InvalidInput: an unknown name, a wrong type or an absurd value.
    """
    defaults = PPOSettings()
    known = [field.name for field in dataclasses.fields(PPOSettings)]
    values: dict[str, object] = {}
    for name, value in given.items():
        if name not in known:
            raise _unknown(name, known)
        values[name] = _read(name, value, getattr(defaults, name))
    return dataclasses.replace(defaults, **values)  # type: ignore[arg-type]


def _read(name: str, value: object, default: object) -> object:
    if name == "hidden":
        return _read_widths(value)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _wrong(name, value, "a finite number")
    low, high = _BOUNDS[name]
    if not low <= value <= high:
        raise _wrong(name, value, f"a number from {low:g} to {high:g}")
    if isinstance(default, int):
        if value != int(value):
            raise _wrong(name, value, "a whole number")
        return int(value)
    return float(value)


def _read_widths(value: object) -> tuple[int, ...]:
    expected = f"1 to {_LAYERS} whole numbers from 1 to {_WIDTH}"
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= _LAYERS:
        raise _wrong("hidden", value, expected)
    for width in value:
        if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= _WIDTH:
            raise _wrong("hidden", value, expected)
    return tuple(value)


def _wrong(name: str, value: object, expected: str) -> InvalidInput:
    return InvalidInput(repr(value), expected=expected, where=f"training setting {name!r}")


def _unknown(name: str, known: list[str]) -> InvalidInput:
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else None
    return InvalidInput(
        repr(name), expected=f"one of {', '.join(known)}", where="training settings", hint=hint
    )
