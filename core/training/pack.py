"""The training of a pack: many runs, one stack of networks, one batch of environments."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from core.envs import EnvBatch
from core.errors import TrainingFailed
from core.fields import Floats
from core.records import Curve
from core.training.action_space import ActionSpace, read_action_space
from core.training.curves import CurveKeeper
from core.training.designs import Designs, Earned, Rewards
from core.training.experience import by_member, weigh
from core.training.networks import Shapes, initial_parameters
from core.training.normalise import ReturnScaler, RunningMoments
from core.training.ppo import Experience, Losses, Stack, new_stack, update
from core.training.rollout import Actors, Gaze, Rollout, collect, draw_noise
from core.training.settings import PPOSettings
from core.training.streams import Purpose, environment_seeds, stream
from core.training.weights import (
    Progressed,
    export_checkpoint,
    export_weights,
    import_checkpoint,
    peek,
    put_parameters,
)


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a pack: an arm and a seed, and the checkpoint to go on from (None: from scratch)."""

    arm: str
    seed: int
    checkpoint: bytes | None = None


class Listener(Protocol):
    """Hears how a training goes."""

    def progress(self, steps: int, seconds: float) -> None:
        """After every step: environment steps of one member so far, seconds since the start."""
        ...

    def snapshot(self, steps: int, weights: Mapping[int, bytes]) -> None:
        """At each requested count: weights of the living members by place."""
        ...

    def failed(self, member: int, steps: int, reason: str) -> None:
        """A member cannot go on."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """How far to train: until `stop` steps per member, with snapshots when `snapshots` are reached.

    `total` is the last rung's last step, for annealing.
    """

    stop: int
    total: int
    snapshots: tuple[int, ...] = ()


@dataclass(slots=True)
class Pack:
    """P members in training.  Make one with `new_pack`, then call `train`, then ask for results."""

    members: Sequence[Member]
    batch: EnvBatch
    settings: PPOSettings
    listener: Listener
    designs: Designs
    space: ActionSpace
    stack: Stack
    observed: RunningMoments
    returns: ReturnScaler
    curves: CurveKeeper
    state: Floats
    progressed: Progressed
    failures: dict[int, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    losses: Losses | None = None

    @property
    def envs(self) -> int:
        """Return N, environments per member."""
        return self.batch.rows // len(self.members)

    @property
    def living(self) -> list[int]:
        """Return the places of the members that can go on."""
        return [m for m in range(len(self.members)) if m not in self.failures]

    def inputs_of(self, member: int) -> int:
        """Return I = D + F of one member."""
        return self.batch.layout.observation_size + self.designs.feature_counts[member]

    def place(self) -> None:
        """Give every living member its parameters: drawn anew, or those of its checkpoint."""
        self._take_out_rejected()
        for place in self.living:
            inputs, checkpoint = self.inputs_of(place), self.members[place].checkpoint
            if checkpoint is None:
                shapes = replace(self.stack.shapes, inputs=inputs)
                rng = stream(self.members[place].seed, Purpose.WEIGHTS)
                drawn = initial_parameters(shapes, rng, self.settings.log_std)
                put_parameters(self.stack, place, inputs, drawn)
            else:
                import_checkpoint(
                    checkpoint, self.stack, place, inputs, self.observed, self.returns
                )

    def train(self, span: Span) -> None:
        """Train until `span.stop` environment steps per member, or until nobody can go on."""
        self.begun = time.monotonic()
        waiting = sorted(span.snapshots)
        self._tell_due(waiting)  # whole rollouts: the rung before may have gone beyond this one's
        while self.progressed.steps < span.stop and self.living:
            self.advance(self._learning_rate(span.total))
            self._tell_due(waiting)

    def advance(self, learning_rate: float) -> None:
        """Collect one rollout and learn from it.

        Where observations are normalised, the first rollout only teaches the normalisers.
        """
        gaze = self._gaze()
        rollout, self.state = collect(
            self.batch,
            self.state,
            Actors(self.stack, gaze, self.space),
            self._noise(),
            self._tick,
        )
        earned = self.designs.earn(
            rollout.states, rollout.received, rollout.following, rollout.native
        )
        rewards = earned.rewards
        if self.settings.normalise_rewards:
            rewards = self.returns.scale(rewards, rollout.ended)
        if self.progressed.rollouts or not self.settings.normalise_observations:
            self._learn(weigh(rollout, rewards, self.stack, gaze, self.settings), learning_rate)
        self.observed.add(by_member(rollout.raw))
        self._count(rollout)
        self._take_out_rejected()
        self._note(rollout, earned)

    def weights(self) -> dict[int, bytes]:
        """Return the weights of the living members, for scoring."""
        moments = self.observed if self.settings.normalise_observations else None
        return {
            m: export_weights(self.stack, m, self.inputs_of(m), self.space, moments)
            for m in self.living
        }

    def checkpoints(self) -> dict[int, bytes]:
        """Return the checkpoints of the living members."""
        return {
            m: export_checkpoint(
                self.stack, m, self.inputs_of(m), self.observed, self.returns, self.progressed
            )
            for m in self.living
        }

    def curve(self, member: int) -> Curve:
        """Return what a member said of itself."""
        return self.curves.curve(member)

    def fail(self, member: int, reason: str) -> None:
        """Take a member out; its place stays, and learns no more."""
        if member in self.failures:
            return
        self.failures[member] = reason
        self.designs.drop(member)
        self.stack.living[member] = False
        self.stack.flat[member] = 0.0
        self.listener.failed(member, self.progressed.steps, reason)

    def _tell_due(self, waiting: list[int]) -> None:
        while waiting and self.living and waiting[0] <= self.progressed.steps:
            self.listener.snapshot(waiting.pop(0), self.weights())

    def _tick(self, steps: int) -> None:
        self.listener.progress(self.progressed.steps + steps, time.monotonic() - self.begun)

    def _learning_rate(self, total: int) -> float:
        left = 1.0 - self.progressed.steps / max(1, total) if self.settings.anneal else 1.0
        return self.settings.learning_rate * max(left, 0.0)

    def _gaze(self) -> Gaze:
        """Freeze what the policies see for the length of one rollout."""
        mean = self.observed.mean[:, None].astype(np.float32)
        scale = self.observed.scale()[:, None].astype(np.float32)
        if not self.settings.normalise_observations:
            mean, scale = np.zeros_like(mean), np.ones_like(scale)
        size = self.batch.layout.observation_size
        return Gaze(size, self.designs.features, mean, scale)

    def _noise(self) -> Floats:
        rollout, steps = self.progressed.rollouts, self.settings.rollout
        drawn = [
            draw_noise(self.space, stream(member.seed, Purpose.ACTIONS, rollout), steps, self.envs)
            for member in self.members
        ]
        return np.stack(drawn, axis=1)

    def _learn(self, experience: Experience, learning_rate: float) -> None:
        rng = stream(0, Purpose.MINIBATCHES, self.progressed.rollouts)
        self.losses = update(self.stack, experience, self.settings, rng, learning_rate)
        finite = torch.isfinite(self.stack.flat).all(1) & torch.isfinite(self.losses.value)
        for member in np.flatnonzero(~finite.numpy()):
            self.fail(int(member), "the loss became NaN or infinite")

    def _count(self, rollout: Rollout) -> None:
        steps, _, envs = rollout.native.shape
        before = self.progressed
        self.progressed = Progressed(before.steps + steps * envs, before.rollouts + 1)
        self.curves.watch(rollout)

    def _take_out_rejected(self) -> None:
        for member, reason in self.designs.rejections.items():
            self.fail(member, reason)

    def _note(self, rollout: Rollout, earned: Earned) -> None:
        rewards = earned.rewards.mean(axis=(0, 2))
        for member in self.living:
            said = {"training_reward": float(rewards[member])}
            if self.losses is not None:
                for name in Losses.__slots__:
                    said[name] = float(getattr(self.losses, name)[member])
            said |= {f"component.{n}": v for n, v in earned.components[member].items()}
            self.curves.add(member, self.progressed.steps, said)


def new_pack(
    members: Sequence[Member],
    rewards: Rewards,
    batch: EnvBatch,
    settings: PPOSettings,
    listener: Listener,
) -> Pack:
    """Put members into their places, from scratch or from their checkpoints.

    Args:
        members:  the runs; `batch.rows` is a multiple of their number.
        rewards:  what they are trained on.
        batch:    environments, not yet reset; member p owns rows p·N to (p+1)·N.
        settings: of the learner.
        listener: hears of progress, snapshots and failures.

    Raises:
        TrainingFailed: checkpoints are not of this network, or not equally far.
    """
    envs, started = batch.rows // len(members), _started(members)
    seeds = [s for m in members for s in environment_seeds(m.seed, started.rollouts, envs)]
    state = batch.reset(seeds)
    designs = rewards.designs([member.arm for member in members])
    designs.learn_feature_counts(state.reshape(len(members), envs, -1))
    space = read_action_space(batch.action)
    inputs = batch.layout.observation_size + designs.most_features
    shapes = Shapes(inputs, settings.hidden, space.size, not space.discrete)
    pack = Pack(
        members=members,
        batch=batch,
        settings=settings,
        listener=listener,
        designs=designs,
        space=space,
        stack=new_stack(shapes, len(members)),
        observed=RunningMoments(len(members), inputs),
        returns=ReturnScaler(len(members), envs, settings.gamma),
        curves=CurveKeeper(len(members), envs),
        state=state,
        progressed=started,
    )
    pack.place()
    return pack


def _started(members: Sequence[Member]) -> Progressed:
    """Say how far the members have come; all of them equally."""
    found = {peek(member.checkpoint) for member in members}
    if len(found) > 1:
        steps = sorted(progressed.steps for progressed in found)
        raise TrainingFailed(f"checkpoints at {steps} steps", expected="equally far members")
    return found.pop()
