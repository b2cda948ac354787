"""What the members of an off-policy pack remember and how they see it: replay, labels, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.fields import Floats
from core.training.designs import Designs, Earned, Rewards
from core.training.living import Lived, shared
from core.training.normalise import CLIP, RunningMoments
from core.training.replay import Label, Replay, observe, relabel
from core.training.settings import DQNSettings, SACSettings
from core.training.stacked import Batch
from core.training.transitions import Transitions


@dataclass(slots=True)
class Memory:
    """The memory of P members.

    Attributes:
        arms:     of the members.
        rewards:  the programs by arm; a member's own is called alone to relabel what is stored.
        designs:  the programs of the pack, for what is new.
        replay:   raw transitions and their labels.
        observed: running statistics of the inputs.
        size:     D, the length of the observation.
    """

    arms: Sequence[str]
    rewards: Rewards
    designs: Designs
    replay: Replay
    observed: RunningMoments
    settings: SACSettings | DQNSettings
    size: int
    device: torch.device
    _sight: tuple[Tensor, Tensor] | None = None

    def inputs_of(self, member: int) -> int:
        """Return I = D + F of one member."""
        return self.size + self.designs.feature_counts[member]

    def see(self, states: Floats) -> Tensor:
        """Return what the policies see of states [P, N, S]: [P, N, I]."""
        inputs = observe(self.designs, states, self.size)
        return self._normalised(torch.from_numpy(inputs).to(self.device))

    def store(self, lived: Lived, living: Sequence[int]) -> Earned:
        """Label what was lived with each member's own program and add it to the replay.

        Returns:
            what it was worth to each member, rewards [1, P, R].
        """
        rows = lived.rows()
        if self.settings.share_replay:
            rows = shared(rows, living)
        earned = self.designs.earn(
            rows.state[None], rows.action[None], rows.next[None], rows.native[None]
        )
        label = Label(
            earned.rewards[0],
            observe(self.designs, rows.state, self.size),
            observe(self.designs, rows.next, self.size),
        )
        self.replay.add(range(len(self.arms)), rows, label)
        if self._watched:
            self.observed.add(label.inputs, self._watched)
            self._sight = None
        return earned

    @property
    def _watched(self) -> list[int]:
        """Return whose inputs are normalised at least in part."""
        everybody, counts = self.settings.normalise_observations, self.designs.feature_counts
        return [member for member, features in enumerate(counts) if everybody or features]

    def recall(self, member: int, rows: Transitions, *, new: bool) -> str | None:
        """Put old transitions [R] into a member's replay, relabelled with its program.

        Args:
            member: its place.
            rows:   the oldest first.
            new:    whether others lived them, and the member's statistics have not seen them yet.

        Returns:
            why the program broke on them, None if it did not.
        """
        rows = rows.take(slice(max(0, len(rows) - self.settings.buffer), None))
        if not len(rows):
            return None
        own = self.rewards.designs([self.arms[member]])
        own.feature_counts = [self.designs.feature_counts[member]]
        label = relabel(own, rows, self.size)
        if own.rejections:
            return own.rejections[0]
        self.replay.reserve(len(rows))
        one = Transitions(*(getattr(rows, name)[None] for name in Transitions.__slots__))
        inputs, following = label.inputs[None], label.following[None]
        self.replay.add([member], one, Label(label.rewards[None], inputs, following))
        if new:
            self.replay.inherited[member] = len(rows)
        if new and member in self._watched:
            fresh = RunningMoments(1, inputs.shape[-1], prior=0.0)
            fresh.add(inputs)
            seen = {"mean": fresh.mean[0], "variance": fresh.variance[0], "count": fresh.count[0]}
            for name, view in self.moments(member).items():
                view[...] = seen[name]
        return None

    def make_room(self, coming: int) -> None:
        """Make room for transitions that every member is going to live."""
        coming *= len(self.arms) if self.settings.share_replay else 1
        self.replay.reserve(min(self.settings.buffer, int(self.replay.sizes.max()) + coming))

    def explorers(self) -> Tensor:
        """Say which members have too few transitions to act by their policies, bool [P]."""
        few = self.replay.added < self.settings.learning_starts
        return torch.from_numpy(few).to(self.device)

    def learners(self, dead: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Say who has enough transitions to learn, [P]."""
        learners: npt.NDArray[np.bool_] = self.replay.added > self.settings.learning_starts
        learners[list(dead)] = False
        return learners

    def sample(self, chance: Tensor) -> Batch:
        """Return what policies see of the rows to which uniform numbers [P, B] point."""
        batch = self.replay.sample(chance)
        return Batch(
            self._normalised(batch.inputs),
            self._normalised(batch.following),
            batch.actions,
            batch.rewards,
            batch.continues,
        )

    @property
    def as_they_are(self) -> int:
        """Return how many of the first inputs are seen as they are, and not clipped."""
        return 0 if self.settings.normalise_observations else self.size

    def normaliser(self, member: int) -> tuple[Floats, Floats]:
        """Return mean and scale [I] of what a member sees."""
        width = self.inputs_of(member)
        mean, scale = self.observed.sight(self.size, self.settings.normalise_observations)
        return mean[member, :width], scale[member, :width]

    def moments(self, member: int) -> dict[str, npt.NDArray[np.float64]]:
        """Return views of a member's statistics, to be read or written."""
        self._sight = None
        width = self.inputs_of(member)
        return {
            "mean": self.observed.mean[member, :width],
            "variance": self.observed.variance[member, :width],
            "count": self.observed.count[member, :width],
        }

    def _normalised(self, inputs: Tensor) -> Tensor:
        """Return what policies see of inputs [P, B, I], by the statistics of this moment."""
        raw = self.as_they_are
        if raw == inputs.shape[-1]:
            return inputs
        if self._sight is None:
            parts = self.observed.sight(self.size, self.settings.normalise_observations)
            mean, scale = (torch.from_numpy(part).to(self.device)[:, None] for part in parts)
            self._sight = mean, scale
        mean, scale = (part[..., raw:] for part in self._sight)
        seen = ((inputs[..., raw:] - mean) * scale).clamp_(-CLIP, CLIP)
        return torch.cat([inputs[..., :raw], seen], -1) if raw else seen
