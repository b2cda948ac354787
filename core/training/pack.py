"""The training of a pack: many runs, one stack of networks, one batch of environments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from core.envs import EnvBatch
from core.errors import InvalidInput, TrainingFailed
from core.fields import Floats
from core.records import Curve
from core.training.action_space import ActionSpace, read_action_space
from core.training.backends import Backend, Networks, choose_backend
from core.training.curves import CurveKeeper
from core.training.designs import Designs, Earned, Rewards
from core.training.experience import Critics, Scales, by_member, weigh
from core.training.networks import Shapes, initial_parameters
from core.training.normalise import ReturnScaler, RunningMoments
from core.training.ppo import Experience, Hyper, Losses, Stack, hyper_of, minibatches, new_stack
from core.training.rollout import Actors, Gaze, Rollout, collect, draw_noise, seen_anew
from core.training.settings import PPOSettings, check_rollout, read_settings
from core.training.streams import Purpose, environment_seeds, stream
from core.training.weights import (
    Progressed,
    export_checkpoint,
    export_weights,
    import_checkpoint,
    peek,
    put_parameters,
)

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

    `total` is the last rung's last step, for annealing.  `pause` is called between rollouts, where
    checkpoints may be asked for.
    """

    stop: int
    total: int
    snapshots: tuple[int, ...] = ()
    pause: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Pack:
    """P members in training.  Make one with `new_pack`, then call `train`, then ask for results."""

    members: Sequence[Member]
    batch: EnvBatch
    settings: PPOSettings
    own: Sequence[PPOSettings]
    backend: Backend
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

    @property
    def envs(self) -> int:
        """Return N, environments per member."""
        return self.batch.rows // len(self.members)

    @property
    def computed_by(self) -> str:
        """Name what computes the networks."""
        return self.backend.name

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
            self.advance(self._rate(span.total))
            self._tell_due(waiting)
            span.pause()

    def advance(self, rate: float = 1.0) -> None:
        """Collect one rollout and learn from it, with this share of the learning rates.

        Observations are normalised with what was seen before the rollout.  Before the first one
        nothing was seen, so it is looked at again with its own statistics before it teaches; the
        untrained policy is nearly uniform whatever it sees.
        """
        gaze = self._gaze()
        actors = Actors(self._networks(gaze), gaze, self.space)
        rollout, self.state = collect(self.batch, self.state, actors, self._noise(), self._tick)
        earned = self.designs.earn(
            rollout.states, rollout.received, rollout.following, rollout.native
        )
        rewards = earned.rewards
        if self.settings.normalise_rewards:
            rewards = self.returns.scale(rewards, rollout.ended)
        raw = by_member(rollout.raw)
        if not self.progressed.rollouts and self.settings.normalise_observations:
            self.observed.add(raw)
            gaze = self._gaze()
            rollout = seen_anew(rollout, gaze)
        critics = Critics(self._networks(gaze), self.stack, gaze)
        losses = self._learn(weigh(rollout, rewards, critics, scales_of(self.own)), rate)
        if self.progressed.rollouts:
            self.observed.add(raw)
        self._count(rollout)
        self._take_out_rejected()
        self._note(losses, earned)

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

    def _rate(self, total: int) -> float:
        left = 1.0 - self.progressed.steps / max(1, total) if self.settings.anneal else 1.0
        return max(left, 0.0)

    def _gaze(self) -> Gaze:
        """Freeze what the policies see for the length of one rollout."""
        mean = self.observed.mean[:, None].astype(np.float32)
        scale = self.observed.scale()[:, None].astype(np.float32)
        if not self.settings.normalise_observations:
            mean, scale = np.zeros_like(mean), np.ones_like(scale)
        size = self.batch.layout.observation_size
        return Gaze(size, self.designs.features, mean, scale)

    def _networks(self, gaze: Gaze) -> Networks:
        return self.backend.networks(self.stack, gaze.mean, gaze.scale)

    def _noise(self) -> Floats:
        rollout, steps = self.progressed.rollouts, self.settings.rollout
        drawn = [
            draw_noise(self.space, stream(member.seed, Purpose.ACTIONS, rollout), steps, self.envs)
            for member in self.members
        ]
        return np.stack(drawn, axis=1)

    def _learn(self, experience: Experience, rate: float) -> Losses:
        rng = stream(0, Purpose.MINIBATCHES, self.progressed.rollouts)
        rows = minibatches(experience.inputs.shape[1], self.settings, rng)
        hyper = hyper_of(self.own)
        hyper = replace(hyper, learning_rate=hyper.learning_rate * rate)
        losses = self.backend.update(self.stack, experience, hyper, rows)
        finite = torch.isfinite(losses.value)
        finite &= torch.isfinite(self.stack.flat[: len(finite)]).all(1)
        for member in np.flatnonzero(~finite.numpy()):
            self.fail(int(member), "the loss became NaN or infinite")
        return losses

    def _count(self, rollout: Rollout) -> None:
        steps, _, envs = rollout.native.shape
        before = self.progressed
        self.progressed = Progressed(before.steps + steps * envs, before.rollouts + 1)
        self.curves.watch(rollout)

    def _take_out_rejected(self) -> None:
        for member, reason in self.designs.rejections.items():
            self.fail(member, reason)

    def _note(self, losses: Losses, earned: Earned) -> None:
        rewards = earned.rewards.mean(axis=(0, 2))
        for member in self.living:
            said = {"training_reward": float(rewards[member])}
            said |= {name: float(getattr(losses, name)[member]) for name in Losses.__slots__}
            said |= {f"component.{n}": v for n, v in earned.components[member].items()}
            self.curves.add(member, self.progressed.steps, said)


def new_pack(
    members: Sequence[Member],
    rewards: Rewards,
    batch: EnvBatch,
    settings: PPOSettings,
    listener: Listener,
    backend: Backend | None = None,
) -> Pack:
    """Put members into their places, from scratch or from their checkpoints.

    Args:
        members:  the runs; `batch.rows` is a multiple of their number.
        rewards:  what they are trained on.
        batch:    environments, not yet reset; member p owns rows p·N to (p+1)·N.
        settings: of the learner.
        listener: hears of progress, snapshots and failures.
        backend:  computes the networks; the fastest that is there unless given.

    Raises:
        InvalidInput: a member differs in a setting that a pack must share, or a rollout is too short.
        TrainingFailed: checkpoints are not of this network, or not equally far.
    """
    own = [settings_of(member, settings) for member in members]
    envs, started = batch.rows // len(members), _started(members)
    check_rollout(settings, envs)
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
        own=own,
        backend=backend or choose_backend(),
        listener=listener,
        designs=designs,
        space=space,
        stack=new_stack(shapes, len(members)),
        observed=RunningMoments(len(members), inputs),
        returns=ReturnScaler(len(members), envs, scales_of(own).gamma),
        curves=CurveKeeper(len(members), envs, resumed=started.steps > 0),
        state=state,
        progressed=started,
    )
    pack.place()
    return pack


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


def _started(members: Sequence[Member]) -> Progressed:
    """Say how far the members have come; all of them equally."""
    found = {peek(member.checkpoint) for member in members}
    if len(found) > 1:
        steps = sorted(progressed.steps for progressed in found)
        raise TrainingFailed(f"checkpoints at {steps} steps", expected="equally far members")
    return found.pop()
