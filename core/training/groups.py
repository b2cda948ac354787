"""A pack's learner in groups of members, so that what a group computes with stays in the cache.

A stack saves the cost of calling torch, which a few members share as well as many; what one more member
costs is memory traffic.  On a processor groups are as large as fits, on a GPU there is one.  Which
members are in a group changes no digit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core.fields import Floats
from core.training.dqn import DQN
from core.training.sac import CRITICS, SAC
from core.training.settings import DQNSettings, SACSettings
from core.training.stacked import Batch, Learner, Said

_CACHED_BYTES = 2**19  # of one layer's outputs; measured with two widths, see the lab log
_LEAST = 2  # one alone computes its products twice


def new_learner(
    settings: SACSettings | DQNSettings,
    members: int,
    inputs: int,
    actions: int,
    device: torch.device,
) -> Learner:
    """Return the learner of a pack, in as many groups as the cache asks for.

    Args:
        settings: of every member; their kind says which learner.
        members:  P
        inputs:   I, columns of the widest member's inputs.
        actions:  choices, or length of the action vector.
        device:   where it computes.
    """

    def make(part: slice) -> Learner:
        own = part.stop - part.start
        if isinstance(settings, SACSettings):
            return SAC(inputs, actions, [settings] * own, device)
        return DQN(inputs, actions, [settings] * own, device)

    networks = CRITICS if isinstance(settings, SACSettings) else 1
    outputs = networks * settings.minibatch * max(settings.hidden) * torch.float32.itemsize
    size = max(_LEAST, _CACHED_BYTES // outputs)
    count = -(-members // size) if device.type == "cpu" else 1
    if count == 1:
        return make(slice(0, members))
    places = np.array_split(np.arange(members), count)
    parts = [slice(int(own[0]), int(own[-1]) + 1) for own in places]
    return Groups([make(part) for part in parts], parts)


class Groups:
    """Learners of some members each, as the learner of all of them."""

    def __init__(self, learners: Sequence[Learner], parts: Sequence[slice]) -> None:
        self.learners, self.parts = learners, parts

    def start(self, member: int, inputs: int, rng: np.random.Generator) -> None:
        """Draw a member's networks."""
        learner, place = self._of(member)
        learner.start(place, inputs, rng)

    def silence(self, member: int) -> None:
        """Set a member's networks to zero."""
        learner, place = self._of(member)
        learner.silence(place)

    def draw_actions(self, rng: np.random.Generator, steps: int, envs: int) -> Floats:
        """Draw the chance of T steps of one member."""
        return self.learners[0].draw_actions(rng, steps, envs)

    def act(self, inputs: Tensor, noise: Tensor, explores: Tensor, progress: float) -> Tensor:
        """Return every member's actions."""
        return torch.cat(
            [
                learner.act(inputs[part], noise[part], explores[part], progress)
                for learner, part in zip(self.learners, self.parts, strict=True)
            ]
        )

    def draw_updates(self, rng: np.random.Generator, updates: int, size: int) -> Floats:
        """Draw the chance of U updates of one member."""
        return self.learners[0].draw_updates(rng, updates, size)

    def update(self, batch: Batch, noise: Tensor, learning: Tensor | None) -> Said:
        """Learn once from a minibatch per member, one group after the other."""
        said: list[Said] = []
        for learner, part in zip(self.learners, self.parts, strict=True):
            own = Batch(*(getattr(batch, name)[part] for name in Batch.__slots__))
            learns = None if learning is None else learning[part]
            said.append(learner.update(own, noise[part], learns))
        return {name: torch.cat([one[name] for one in said]) for name in said[0]}

    def after_steps(self, before: int, after: int) -> None:
        """Hear how far the members have come."""
        for learner in self.learners:
            learner.after_steps(before, after)

    def policy(self, member: int, inputs: int) -> dict[str, Tensor]:
        """Return a member's policy."""
        learner, place = self._of(member)
        return learner.policy(place, inputs)

    def memory(self, member: int, inputs: int) -> dict[str, Tensor]:
        """Return views of all that a member must remember."""
        learner, place = self._of(member)
        return learner.memory(place, inputs)

    def finite(self) -> Tensor:
        """Return whether all of a member's numbers are finite, bool [P]."""
        return torch.cat([learner.finite() for learner in self.learners])

    def _of(self, member: int) -> tuple[Learner, int]:
        for learner, part in zip(self.learners, self.parts, strict=True):
            if part.start <= member < part.stop:
                return learner, member - part.start
        raise IndexError(member)
