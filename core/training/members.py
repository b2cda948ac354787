"""The members of a pack: which runs they are, in what they may differ, and how they begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from core.errors import CheckpointUnusable, InvalidInput
from core.training.experience import Scales
from core.training.networks import initial_parameters
from core.training.normalise import ReturnScaler, RunningMoments
from core.training.ppo import Hyper, Stack
from core.training.settings import PPOSettings, read_settings
from core.training.streams import Purpose, stream
from core.training.weights import Progressed, import_checkpoint, peek, put_parameters

OWN_SETTINGS = (*Hyper.__slots__, "gamma", "gae_lambda")
"""Settings in which the members of one pack may differ."""


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a pack: an arm and a seed, and the checkpoint to go on from (None: from scratch).

    `settings` are numbers in which it differs from its pack, of `OWN_SETTINGS`.
    """

    arm: str
    seed: int
    checkpoint: bytes | None = None
    settings: Mapping[str, float] = field(default_factory=dict)


def settings_of(member: Member, settings: PPOSettings) -> PPOSettings:
    """Return a member's own settings.

    Raises:
        InvalidInput: it differs in a setting that a pack must share, or by an absurd value.
    """
    for name in member.settings:
        if name not in OWN_SETTINGS:
            raise InvalidInput(
                repr(name),
                expected=f"one of {', '.join(OWN_SETTINGS)}",
                where=f"settings of a member of arm {member.arm!r}",
                hint="Other settings are the whole pack's.",
            )
    return read_settings({**asdict(settings), **member.settings})


def scales_of(own: Sequence[PPOSettings]) -> Scales:
    """Return discounts and trace decays side by side, [P, 1] each."""
    pairs = np.array([[s.gamma, s.gae_lambda] for s in own], np.float32)
    return Scales(pairs[:, :1], pairs[:, 1:])


def started(members: Sequence[Member]) -> Progressed:
    """Say how far members have come who are to go on together.

    Raises:
        CheckpointUnusable: a checkpoint is none, or they are not equally far.
    """
    found = {peek(member.checkpoint) for member in members}
    if len(found) > 1:
        steps = sorted(progressed.steps for progressed in found)
        raise CheckpointUnusable(f"checkpoints at {steps} steps", expected="equally far members")
    return found.pop()


@dataclass(frozen=True, slots=True)
class Places:
    """What members of PPO are put into, on the host: networks and statistics, one place each."""

    stack: Stack
    observed: RunningMoments
    returns: ReturnScaler

    def put(self, place: int, member: Member, inputs: int, log_std: float) -> None:
        """Give a member its parameters: drawn anew, or those of its checkpoint.

        Args:
            place:   of the member.
            member:  to be put there.
            inputs:  I = D + F of it.
            log_std: initial log standard deviation of continuous actions.

        Raises:
            CheckpointUnusable: its checkpoint is not of this network.
        """
        if member.checkpoint is not None:
            import_checkpoint(
                member.checkpoint, self.stack, place, inputs, self.observed, self.returns
            )
            return
        shapes = replace(self.stack.shapes, inputs=inputs)
        drawn = initial_parameters(shapes, stream(member.seed, Purpose.WEIGHTS), log_std)
        put_parameters(self.stack, place, inputs, drawn)
