"""Deep Q-learning for a stack of members (Mnih et al., 2015).

As in Stable-Baselines3: Huber loss, ε-greedy exploration that falls linearly, gradients clipped, and a
target network that is renewed now and then; double Q-learning (van Hasselt et al., 2016) on demand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from core.fields import Floats
from core.training.settings import DQNSettings
from core.training.stacked import (
    Adam,
    Batch,
    Said,
    clip_rows,
    column,
    memory_of,
    new_stack,
)


class DQN:
    """The networks of P members and their updates.

    Attributes:
        values, targets: [P] action values, one output per choice.
    """

    def __init__(
        self, inputs: int, actions: int, settings: Sequence[DQNSettings], device: torch.device
    ) -> None:
        self.actions, self.device = actions, device
        rows = len(settings)
        self.double, self.every = settings[0].double, settings[0].target_every
        self.gamma = column([s.gamma for s in settings], device)
        self.tau = column([s.tau for s in settings], device)
        self.most_norm = column([s.max_grad_norm for s in settings], device)
        self.epsilon = [column([getattr(s, n) for s in settings], device) for n in _SCHEDULE]
        sizes = (inputs, *settings[0].hidden, actions)
        self.values = new_stack(sizes, rows, device)
        self.targets = new_stack(sizes, rows, device)
        self.adam = Adam(self.values.flat, column([s.learning_rate for s in settings], device))

    def start(self, member: int, inputs: int, rng: np.random.Generator) -> None:
        """Draw a member's network; its target begins as the same."""
        self.values.draw(member, inputs, rng)
        self.targets.flat[member] = self.values.flat[member]

    def silence(self, member: int) -> None:
        """Set a member's networks to zero."""
        self.values.flat[member] = self.targets.flat[member] = 0.0

    def finite(self) -> Tensor:
        """Return bool [P]: whether a member's numbers are finite."""
        return torch.isfinite(self.values.flat).all(1)

    # --- what leaves ------------------------------------------------------------------------------

    def policy(self, member: int, inputs: int) -> dict[str, Tensor]:
        """Return the network of action values; the largest one is chosen."""
        named: dict[str, Tensor] = {"activation.relu": torch.ones(1)}
        last = str(len(self.values.sizes) - 2)
        for name, value in self.values.row(self.values.flat, member, inputs).items():
            layer, part = name.split(".")
            named[f"policy.{'out' if layer == last else layer}.{part}"] = value
        return named

    def memory(self, member: int, inputs: int) -> dict[str, Tensor]:
        """Return network, target and what Adam knows of them."""
        named = memory_of("values", self.values, self.adam, member, inputs)
        return named | memory_of("target", self.targets, None, member, inputs)

    # --- acting -----------------------------------------------------------------------------------

    def draw_actions(self, rng: np.random.Generator, steps: int, envs: int) -> Floats:
        """Draw what `act` needs for T steps of one member: [T, N, 2], uniform."""
        return rng.random((steps, envs, 2), np.float32)

    def act(self, inputs: Tensor, noise: Tensor, explores: Tensor, progress: float) -> Tensor:
        """Return choices [P, N]: any one with probability ε, else the most valuable.

        Args:
            inputs:   [P, N, I] what the networks see.
            noise:    [P, N, 2] of `draw_actions`.
            explores: bool [P]; ε is 1 where it holds.
            progress: share of all steps that are done.
        """
        best = self.values.forward(inputs)[-1].argmax(-1)
        chance, choice = noise.unbind(-1)
        random = (choice * self.actions).long().clamp_(max=self.actions - 1)
        epsilon = torch.where(explores[:, None], 1.0, self.exploration(progress))
        return torch.where(chance < epsilon, random, best)

    def exploration(self, progress: float) -> Tensor:
        """Return ε [P, 1]."""
        share, first, last = self.epsilon
        return first + (last - first) * (progress / share).clamp(max=1.0)

    # --- learning ---------------------------------------------------------------------------------

    def draw_updates(self, rng: np.random.Generator, updates: int, size: int) -> Floats:
        """Draw nothing, [U, B, 0]: an update knows no chance but the choice of its minibatch."""
        return np.zeros((updates, size, 0), np.float32)

    def update(self, batch: Batch, noise: Tensor, learning: Tensor | None) -> Said:
        """Take one step along the gradient of the mean Huber loss.

        Args:
            batch:    transitions of every member.
            noise:    none.
            learning: bool [P], who learns; None: everybody.
        """
        target = self.target(batch)
        outputs = self.values.forward(batch.inputs)
        actions = batch.actions[..., None]
        value = outputs[-1].gather(-1, actions)[..., 0]
        error = value - target
        d = torch.zeros_like(outputs[-1])
        d.scatter_(-1, actions, (error.clamp(-1, 1) / error.shape[1])[..., None])
        self.values.backward(outputs, d)
        clip_rows(self.values.gradient, self.most_norm)
        self.adam.descend(self.values.gradient, learning)
        return {
            "critic": smooth_l1_loss(value, target, reduction="none").mean(1),
            "value": value.mean(1),
        }

    def target(self, batch: Batch) -> Tensor:
        """Return what values should be, r + γ·continues·max Q', [P, B].

        Q' are the target network's values of the following state; with `double`, the learning network
        chooses among them.
        """
        following = self.targets.forward(batch.following)[-1]
        if self.double:
            chosen = self.values.forward(batch.following)[-1].argmax(-1, keepdim=True)
            best = following.gather(-1, chosen)[..., 0]
        else:
            best = following.amax(-1)
        return batch.rewards + self.gamma * batch.continues * best

    def after_steps(self, before: int, after: int) -> None:
        """Let the target network follow, if a multiple of `target_every` steps was passed."""
        if after // self.every > before // self.every:
            self.targets.flat.lerp_(self.values.flat, self.tau)


_SCHEDULE = ("exploration_fraction", "exploration_initial", "exploration_final")
