"""How the learner learns: settings by name, checked at the door."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias, overload

from core.errors import InvalidInput
from core.records.kinds import Json


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


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """Settings that every off-policy learner has; the names in brackets are Stable-Baselines3's.

    Attributes:
        buffer:        transitions that a member keeps (`buffer_size`); no more than it can live.
        learning_starts: transitions that a member must have before it learns and acts by its policy.
        minibatch:     transitions per update (`batch_size`).
        train_every:   steps per environment between two turns of learning (`train_freq`).
        updates_per_step: updates per environment step of a member; Stable-Baselines3's
                       `gradient_steps` / (`train_freq` · environments).
        learning_rate: of Adam.
        gamma:         discount.
        tau:           how far a target network follows.
        hidden:        widths of the ReLU layers, the same for all networks.
        normalise_observations: by running statistics, per member; transitions are stored as they were.
        share_replay:  every member learns from what all members of its pack lived, relabelled with its
                       own program.  Fewer steps are needed, but a member's curve then depends on
                       the company it is in.
    """

    buffer: int = 1_000_000
    learning_starts: int = 100
    minibatch: int = 256
    train_every: int = 1
    updates_per_step: float = 1.0
    learning_rate: float = 3e-4
    gamma: float = 0.99
    tau: float = 0.005
    hidden: tuple[int, ...] = (256, 256)
    normalise_observations: bool = False
    share_replay: bool = False


@dataclass(frozen=True, slots=True)
class SACSettings(ReplaySettings):
    """Settings of soft actor-critic; the defaults are Stable-Baselines3's.

    Attributes:
        temperature:   weight of the entropy at first (`ent_coef`).
        learn_temperature: whether it is learned, else it stays.
        entropy_share: the entropy aimed at, in -A (`target_entropy` "auto" is 1).
    """

    temperature: float = 1.0
    learn_temperature: bool = True
    entropy_share: float = 1.0


@dataclass(frozen=True, slots=True)
class DQNSettings(ReplaySettings):
    """Settings of deep Q-learning; the defaults are Stable-Baselines3's with one environment.

    Attributes:
        target_every:  environment steps of a member between two renewals of the target network
                       (`target_update_interval`).
        exploration_fraction: share of all steps in which ε falls.
        exploration_initial, exploration_final: ε before and after (`exploration_initial_eps`,
                       `exploration_final_eps`).
        max_grad_norm: gradients are clipped per member.
        double:        let the learning network choose what the target network values.
    """

    minibatch: int = 32
    train_every: int = 4
    updates_per_step: float = 0.25
    learning_rate: float = 1e-4
    tau: float = 1.0
    hidden: tuple[int, ...] = (64, 64)
    target_every: int = 10_000
    exploration_fraction: float = 0.1
    exploration_initial: float = 1.0
    exploration_final: float = 0.05
    max_grad_norm: float = 10.0
    double: bool = False


Settings: TypeAlias = PPOSettings | SACSettings | DQNSettings

LEAST_ROWS = 2
"""Transitions of a member in a rollout of PPO and in each of its minibatches: one has no deviation."""

MOST_REPLAY_BYTES = 32 * 1024**2
"""Raw transitions in a member's checkpoint; older ones are forgotten at a rung's boundary."""

_ALGORITHMS: Mapping[str, Settings] = {
    "ppo": PPOSettings(),
    "sac": SACSettings(),
    "dqn": DQNSettings(),
}
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
    "buffer": (1, 10_000_000),
    "learning_starts": (0, 10_000_000),
    "train_every": (1, 65_536),
    "updates_per_step": (0.0, 100.0),
    "tau": (0.0, 1.0),
    "temperature": (1e-6, 1e3),
    "entropy_share": (0.0, 10.0),
    "target_every": (1, 10_000_000),
    "exploration_fraction": (1e-6, 1.0),
    "exploration_initial": (0.0, 1.0),
    "exploration_final": (0.0, 1.0),
}
_LAYERS, _WIDTH = 4, 1024


@overload
def read_settings(given: Json) -> PPOSettings: ...
@overload
def read_settings(given: Json, algorithm: str) -> Settings: ...
def read_settings(given: Json, algorithm: str = "ppo") -> Settings:
    """Read an algorithm's settings by name; what is not named keeps its default.

    >>> read_settings({"learning_rate": 3e-4}).learning_rate
    0.0003
    >>> read_settings({"tau": 0.01}, "sac").tau
    0.01

    Raises:
        InvalidInput: an unknown algorithm, an unknown name, a wrong type or an absurd value.
    """
    if algorithm not in _ALGORITHMS:
        names = ", ".join(_ALGORITHMS)
        raise InvalidInput(repr(algorithm), expected=f"one of {names}", where="training algorithm")
    defaults = _ALGORITHMS[algorithm]
    known = [field.name for field in dataclasses.fields(defaults)]
    values: dict[str, object] = {}
    for name, value in given.items():
        if name not in known:
            raise _unknown(name, known, algorithm)
        values[name] = _read(name, value, getattr(defaults, name))
    return dataclasses.replace(defaults, **values)  # type: ignore[arg-type]


def check_algorithm(algorithm: str, discrete: bool, warm_start: bool = False) -> None:
    """Refuse an algorithm that does not fit the actions, or a warm start that has no replay.

    Raises:
        InvalidInput: says which algorithms would do.
    """
    where, found = "training algorithm", f"{algorithm!r}, and the actions are "
    if algorithm == "sac" and discrete:
        raise InvalidInput(
            found + "choices",
            expected="actions that are vectors",
            where=where,
            hint="Use dqn or ppo for choices.",
        )
    if algorithm == "dqn" and not discrete:
        raise InvalidInput(
            found + "vectors",
            expected="actions that are choices",
            where=where,
            hint="Use sac or ppo for vectors.",
        )
    if algorithm == "ppo" and warm_start:
        raise InvalidInput(
            "a warm start with ppo",
            expected="sac or dqn",
            where="training",
            hint="PPO learns from what its present policy lived and keeps no replay to be filled.",
        )


def check_rollout(settings: Settings, envs: int) -> None:
    """Refuse a rollout of PPO from which nothing can be learnt: advantages are standardised.

    Args:
        settings: of the learner; those without rollouts are never refused.
        envs:     environments per member.

    Raises:
        InvalidInput: a single transition, which has no deviation.
    """
    if isinstance(settings, PPOSettings) and settings.rollout * envs < LEAST_ROWS:
        raise InvalidInput(
            f"rollouts of {settings.rollout} × {envs} steps",
            expected=f"at least {LEAST_ROWS} transitions per member in a rollout",
            where="training setting 'rollout'",
            hint="Take more steps between two updates, or more environments.",
        )


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


def _unknown(name: str, known: list[str], algorithm: str) -> InvalidInput:
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else None
    where = f"training settings of {algorithm}"
    return InvalidInput(repr(name), expected=f"one of {', '.join(known)}", where=where, hint=hint)
