"""Soft actor-critic for a stack of members (Haarnoja et al., arXiv 1812.05905).

As usual today: two critics and their slowly following targets, a squashed Gaussian policy, and a
temperature that is learned so that the policy keeps an entropy of -A.  The order of the steps within
an update is that of Stable-Baselines3, so that equal settings mean equal learning.  Actions are in
half action ranges, within ±1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.fields import Floats
from core.training.settings import SACSettings
from core.training.stacked import (
    Adam,
    Batch,
    Said,
    column,
    evenly,
    memory_of,
    new_stack,
)

_LOWEST_LOG_STD, _HIGHEST_LOG_STD = -20.0, 2.0
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
CRITICS = 2


class SAC:
    """The networks of P members and their updates.

    Attributes:
        actor:           [P] policies: mean and log standard deviation, 2·A outputs.
        critics, targets: [2·P] action values of (action, inputs); a member's two stand side by side.
        log_temperature: [P, 1]
    """

    def __init__(
        self, inputs: int, actions: int, settings: Sequence[SACSettings], device: torch.device
    ) -> None:
        self.actions, self.device = actions, device
        hidden, rows = settings[0].hidden, len(settings)
        self.gamma = column([s.gamma for s in settings], device)
        self.tau = column([s.tau for s in settings], device)
        rate = column([s.learning_rate for s in settings], device)
        self.target_entropy = column([-actions * s.entropy_share for s in settings], device)
        self.learned = column([float(s.learn_temperature) for s in settings], device)
        self.actor = new_stack((inputs, *hidden, 2 * actions), rows, device)
        sizes = (actions + inputs, *hidden, 1)
        self.critics = new_stack(sizes, CRITICS * rows, device)
        self.targets = new_stack(sizes, CRITICS * rows, device)
        self.log_temperature = column([math.log(s.temperature) for s in settings], device)
        self.actor_adam = Adam(self.actor.flat, rate)
        self.critic_adam = Adam(self.critics.flat, _twice(rate))
        self.temperature_adam = Adam(self.log_temperature, rate)

    def start(self, member: int, inputs: int, rng: np.random.Generator) -> None:
        """Draw a member's policy and critics; its targets begin as its critics."""
        self.actor.draw(member, inputs, rng)
        for row in self._critics_of(member):
            self.critics.draw(row, self.actions + inputs, rng)
            self.targets.flat[row] = self.critics.flat[row]

    def silence(self, member: int) -> None:
        """Set a member's networks to zero."""
        self.actor.flat[member] = 0.0
        for row in self._critics_of(member):
            self.critics.flat[row] = self.targets.flat[row] = 0.0

    def finite(self) -> Tensor:
        """Return bool [P]: whether a member's numbers are finite."""
        critics = torch.isfinite(self.critics.flat).view(len(self.actor.flat), -1)
        return torch.isfinite(self.actor.flat).all(1) & critics.all(1)

    # --- what leaves ------------------------------------------------------------------------------

    def policy(self, member: int, inputs: int) -> dict[str, Tensor]:
        """Return the squashed mean's network."""
        one = torch.ones(1)
        named: dict[str, Tensor] = {"activation.relu": one, "output.tanh": one}
        last = len(self.actor.sizes) - 2
        for name, value in self.actor.row(self.actor.flat, member, inputs).items():
            layer, part = name.split(".")
            if int(layer) == last:
                named[f"policy.out.{part}"] = value[: self.actions]
            else:
                named[f"policy.{name}"] = value
        return named

    def memory(self, member: int, inputs: int) -> dict[str, Tensor]:
        """Return networks, targets, temperature and what Adam knows of them."""
        named = memory_of("actor", self.actor, self.actor_adam, member, inputs)
        for number, row in enumerate(self._critics_of(member)):
            width = self.actions + inputs
            named |= memory_of(f"critic{number}", self.critics, self.critic_adam, row, width)
            named |= memory_of(f"target{number}", self.targets, None, row, width)
        adam = self.temperature_adam
        named["temperature"] = self.log_temperature[member]
        for part in ("first", "second", "updates"):
            named[f"temperature.{part}"] = getattr(adam, part)[member]
        return named

    def _critics_of(self, member: int) -> range:
        return range(CRITICS * member, CRITICS * (member + 1))

    # --- acting -----------------------------------------------------------------------------------

    def draw_actions(self, rng: np.random.Generator, steps: int, envs: int) -> Floats:
        """Draw what `act` needs for T steps of one member: [T, N, 2·A], normal and uniform."""
        shape = (steps, envs, self.actions)
        uniform = rng.random(shape, np.float32) * 2 - 1
        return np.concatenate([rng.standard_normal(shape, np.float32), uniform], -1)

    def act(self, inputs: Tensor, noise: Tensor, explores: Tensor, progress: float) -> Tensor:
        """Return actions [P, N, A]: uniform where a member still explores, else from its policy.

        Args:
            inputs:   [P, N, I] what the policies see.
            noise:    [P, N, 2·A] of `draw_actions`.
            explores: bool [P]
            progress: share of all steps that are done; nothing depends on it here.
        """
        normal, uniform = torch.split(noise, self.actions, -1)
        mean, log_std = self._gaussian(self.actor.forward(inputs)[-1])
        chosen = evenly(torch.tanh, mean + evenly(torch.exp, log_std) * normal)
        return torch.where(explores[:, None, None], uniform, chosen)

    # --- learning ---------------------------------------------------------------------------------

    def draw_updates(self, rng: np.random.Generator, updates: int, size: int) -> Floats:
        """Draw the noise of one member's updates, [U, B, 2·A]: now and at the following state."""
        return rng.standard_normal((updates, size, 2 * self.actions), np.float32)

    def update(self, batch: Batch, noise: Tensor, learning: Tensor | None) -> Said:
        """Take one step of temperature, critics, policy and targets.

        Args:
            batch:    transitions of every member.
            noise:    [P, B, 2·A] of `draw_updates`.
            learning: bool [P], who learns; None: everybody.
        """
        now, then = torch.split(noise, self.actions, -1)
        outputs = self.actor.forward(batch.inputs)
        action, log_prob, slopes = self.squashed(outputs[-1], now)
        temperature = evenly(torch.exp, self.log_temperature)
        self._learn_temperature(log_prob, learning)
        error = self._learn_critics(batch, self.target(batch, then, temperature), learning)
        lowest, d_action = self._worth(batch.inputs, action)
        d_mean, d_log_std = slopes.chain(d_action, temperature[..., None] / action.shape[1])
        self.actor.backward(outputs, torch.cat([d_mean, d_log_std], -1))
        self.actor_adam.descend(self.actor.gradient, learning)
        self._follow(learning)
        return {
            "critic": error,
            "actor": (temperature * log_prob - lowest).mean(1),
            "entropy": -log_prob.mean(1),
            "temperature": temperature[:, 0],
        }

    def target(self, batch: Batch, noise: Tensor, temperature: Tensor) -> Tensor:
        """Return what critics should say, r + γ·continues·(min Q' - temperature·log π'), [P, B].

        Q' are the targets' values of a new action at the following state, π' its density.
        """
        action, log_prob, _ = self.squashed(self.actor.forward(batch.following)[-1], noise)
        x = _twice(torch.cat([action, batch.following], -1))
        value = _by_member(self.targets.forward(x)[-1]).amin(1) - temperature * log_prob
        return batch.rewards + self.gamma * batch.continues * value

    def squashed(self, output: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Slopes]:
        """Return the action tanh(u) [P, B, A], u = mean + std·noise, its log-probability and slopes.

        log(1 - tanh² u) is written as 2·(log 2 - u - softplus(-2u)), which does not run out of digits.
        """
        mean, log_std = self._gaussian(output)
        spread = evenly(torch.exp, log_std) * noise
        u = mean + spread
        action = evenly(torch.tanh, u)
        squash = 2 * (math.log(2) - u - evenly(softplus, -2 * u))
        log_prob = (-0.5 * noise.square() - log_std - _HALF_LOG_2PI - squash).sum(-1)
        inside = (output[..., self.actions :] - log_std) == 0
        return action, log_prob, Slopes(action, spread, inside)

    def _gaussian(self, output: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = torch.split(output, self.actions, -1)
        return mean, log_std.clamp(_LOWEST_LOG_STD, _HIGHEST_LOG_STD)

    def _learn_temperature(self, log_prob: Tensor, learning: Tensor | None) -> None:
        slope = -(log_prob + self.target_entropy).mean(1, keepdim=True) * self.learned
        self.temperature_adam.descend(slope, learning)

    def _learn_critics(self, batch: Batch, target: Tensor, learning: Tensor | None) -> Tensor:
        """Step along the gradient of ½·mean((Q - target)²), summed over both; return that loss."""
        outputs = self.critics.forward(_twice(torch.cat([batch.actions, batch.inputs], -1)))
        error = outputs[-1] - _twice(target)[..., None]
        self.critics.backward(outputs, error / error.shape[1])
        both = None if learning is None else _twice(learning)
        self.critic_adam.descend(self.critics.gradient, both)
        return 0.5 * _by_member(error).square().mean(2).sum(1)

    def _worth(self, inputs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return min Q [P, B], and ∂(-mean min Q)/∂action [P, B, A]."""
        outputs = self.critics.forward(_twice(torch.cat([action, inputs], -1)))
        value = _by_member(outputs[-1])
        lowest, place = value.min(1, keepdim=True)
        d = torch.zeros_like(value).scatter_(1, place, -1.0 / action.shape[1])
        slope = self.critics.input_slope(outputs, d.view(outputs[-1].shape))
        slope = slope.view(-1, CRITICS, *slope.shape[1:])
        return lowest[:, 0], (slope[:, 0] + slope[:, 1])[..., : self.actions]

    def _follow(self, learning: Tensor | None) -> None:
        tau = self.tau if learning is None else self.tau * learning[:, None]
        self.targets.flat.lerp_(self.critics.flat, _twice(tau))

    def after_steps(self, before: int, after: int) -> None:
        """Do nothing: targets follow with every update."""


class Slopes:
    """How a squashed action and its log-probability depend on mean and log standard deviation."""

    def __init__(self, action: Tensor, spread: Tensor, inside: Tensor) -> None:
        self._action, self._spread, self._inside = action, spread, inside

    def chain(self, d_action: Tensor, d_log_prob: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂loss/∂mean and ∂loss/∂(log standard deviation).

        ∂a/∂u = 1 - a², ∂log π/∂u = 2a; log π depends on the log standard deviation besides, by -1.
        Where that is held at its bounds, nothing passes.
        """
        a = self._action
        d_u = d_action * (1 - a.square()) + d_log_prob * 2 * a
        return d_u, (d_u * self._spread - d_log_prob) * self._inside


def _twice(x: Tensor) -> Tensor:
    """Repeat every row [P, ...] for the member's two critics, [2·P, ...]."""
    return x.repeat_interleave(CRITICS, 0)


def _by_member(values: Tensor) -> Tensor:
    """Turn [2·P, B, 1] into [P, 2, B]."""
    return values.view(-1, CRITICS, values.shape[1])
