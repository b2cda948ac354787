"""The training of a pack: many runs, one stack of networks, one batch of environments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from core.envs import EnvBatch
from core.fields import Floats
from core.records.measured import Curve
from core.training.action_space import ActionSpace, read_action_space
from core.training.backends import Backend, Networks, choose_backend
from core.training.blocks import by_member
from core.training.course import LOST, Course, Listener, Span
from core.training.curves import CurveKeeper
from core.training.designs import Designs, Earned, Rewards
from core.training.experience import Critics, weigh
from core.training.members import Member, Places, scales_of, settings_of, started
from core.training.minibatches import minibatches
from core.training.networks import Shapes
from core.training.normalise import ReturnScaler, RunningMoments, prior_of
from core.training.ppo import Experience, Losses, Stack, hyper_of, new_stack
from core.training.rollout import Actors, Gaze, Rollout, collect, noise_of, seen_anew
from core.training.settings import PPOSettings, check_rollout
from core.training.streams import Purpose, environment_seeds, stream
from core.training.weights import Progressed, export_checkpoint, export_weights


@dataclass(slots=True)
class Pack:
    """P members in training.  Make one with `new_pack`, then call `train`, then ask for results."""

    course: Course
    batch: EnvBatch
    settings: PPOSettings
    own: Sequence[PPOSettings]
    backend: Backend
    designs: Designs
    space: ActionSpace
    stack: Stack
    observed: RunningMoments
    returns: ReturnScaler
    curves: CurveKeeper
    state: Floats

    @property
    def envs(self) -> int:
        """Return N, environments per member."""
        return self.batch.rows // len(self.course.members)

    @property
    def computed_by(self) -> str:
        """Name what computes the networks."""
        return self.backend.name

    @property
    def living(self) -> list[int]:
        """Return the places of the members that can go on."""
        return self.course.living

    @property
    def progressed(self) -> Progressed:
        """Return how far the members have come."""
        return self.course.progressed

    def inputs_of(self, member: int) -> int:
        """Return I = D + F of one member."""
        return self.batch.layout.observation_size + self.designs.feature_counts[member]

    def place(self) -> None:
        """Give every living member its parameters: drawn anew, or those of its checkpoint."""
        self.course.take_out(self.designs.rejections, self._silence)
        places = Places(self.stack, self.observed, self.returns)
        for place in self.living:
            member, log_std = self.course.members[place], self.settings.log_std
            places.put(place, member, self.inputs_of(place), log_std)

    def train(self, span: Span) -> None:
        """Train until `span.stop` environment steps per member, or until nobody can go on."""
        self.course.run(span, lambda: self.advance(self._rate(span.total)), self.weights)

    def advance(self, rate: float = 1.0) -> None:
        """Collect one rollout and learn from it, with this share of the learning rates.

        Observations are normalised with what was seen before the rollout.  Before the first one
        nothing was seen, so it is looked at again with its own statistics before it teaches; the
        untrained policy is nearly uniform whatever it sees.
        """
        gaze = self._gaze()
        actors = Actors(self._networks(gaze), gaze, self.space)
        rollout, self.state = collect(
            self.batch, self.state, actors, self._noise(), self.course.tick
        )
        earned = self.designs.earn(
            rollout.states, rollout.received, rollout.following, rollout.native
        )
        rewards = earned.rewards
        if self.settings.normalise_rewards:
            rewards = self.returns.scale(rewards, rollout.ended)
        raw = by_member(rollout.raw)
        if not self.progressed.rollouts:
            self.observed.add(raw)
            gaze = self._gaze()
            rollout = seen_anew(rollout, gaze)
        critics = Critics(self._networks(gaze), self.stack, gaze)
        losses = self._learn(weigh(rollout, rewards, critics, scales_of(self.own)), rate)
        if self.progressed.rollouts:
            self.observed.add(raw)
        self._count(rollout)
        self.course.take_out(self.designs.rejections, self._silence)
        self._note(losses, earned)

    def weights(self) -> dict[int, bytes]:
        """Return the weights of the living members, for scoring."""
        mean, scale = self._sight()
        return {
            m: export_weights(self.stack, m, self.inputs_of(m), self.space, (mean[m], scale[m]))
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

    def _silence(self, member: int) -> None:
        self.designs.drop(member)
        self.stack.living[member] = False
        self.stack.flat[member] = 0.0

    def _rate(self, total: int) -> float:
        return self.course.left(total) if self.settings.anneal else 1.0

    def _gaze(self) -> Gaze:
        """Freeze what the policies see for the length of one rollout."""
        mean, scale = self._sight()
        size = self.batch.layout.observation_size
        return Gaze(size, self.designs.features, mean[:, None], scale[:, None])

    def _sight(self) -> tuple[Floats, Floats]:
        size = self.batch.layout.observation_size
        return self.observed.sight(size, self.settings.normalise_observations)

    def _networks(self, gaze: Gaze) -> Networks:
        return self.backend.networks(self.stack, gaze.mean, gaze.scale)

    def _noise(self) -> Floats:
        seeds = [member.seed for member in self.course.members]
        rollout = self.progressed.rollouts
        return noise_of(self.space, seeds, rollout, self.settings.rollout, self.envs)

    def _learn(self, experience: Experience, rate: float) -> Losses:
        rng = stream(0, Purpose.MINIBATCHES, self.progressed.rollouts)
        rows = minibatches(experience.inputs.shape[1], self.settings, rng)
        hyper = hyper_of(self.own)
        hyper = replace(hyper, learning_rate=hyper.learning_rate * rate)
        losses = self.backend.update(self.stack, experience, hyper, rows)
        finite = torch.isfinite(losses.value)
        finite &= torch.isfinite(self.stack.flat[: len(finite)]).all(1)
        lost = np.flatnonzero(~finite.numpy()).tolist()
        self.course.take_out(dict.fromkeys(lost, LOST), self._silence)
        return losses

    def _count(self, rollout: Rollout) -> None:
        steps, _, envs = rollout.native.shape
        self.course.count(steps * envs)
        self.curves.watch(rollout.native, rollout.ended)

    def _note(self, losses: Losses, earned: Earned) -> None:
        rewards = earned.rewards.mean(axis=(0, 2), dtype=np.float64)
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
        CheckpointUnusable: checkpoints are not of this network, or not equally far.
    """
    own = [settings_of(member, settings) for member in members]
    envs, begun = batch.rows // len(members), started(members)
    check_rollout(settings, envs)
    seeds = [s for m in members for s in environment_seeds(m.seed, begun.rollouts, envs)]
    state = batch.reset(seeds)
    designs = rewards.designs([member.arm for member in members])
    designs.learn_feature_counts(state.reshape(len(members), envs, -1))
    space = read_action_space(batch.action)
    inputs = batch.layout.observation_size + designs.most_features
    shapes = Shapes(inputs, settings.hidden, space.size, not space.discrete)
    pack = Pack(
        course=Course(members, listener, begun),
        batch=batch,
        settings=settings,
        own=own,
        backend=backend or choose_backend(),
        designs=designs,
        space=space,
        stack=new_stack(shapes, len(members)),
        observed=RunningMoments(
            len(members), inputs, prior_of(batch.layout.observation_size, inputs)
        ),
        returns=ReturnScaler(len(members), envs, scales_of(own).gamma),
        curves=CurveKeeper(len(members), envs, resumed=begun.steps > 0),
        state=state,
    )
    pack.place()
    return pack
