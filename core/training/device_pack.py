"""The training of a pack whose environments, programs and networks all live on one device.

It is `core.training.pack` with tensors from the environment to the update.  What holds:

- Exploration noise and the order of minibatches come from the host's streams, keyed by seed and
  purpose, so they are the same numbers on every device; drawing them on the device would give a
  member other noise on another kind of device.  They are drawn while the device works.
- On the CPU a member's numbers are those of `core.training.pack` up to the rounding of statistics.
- On CUDA the same pack on the same machine gives the same curve (no atomics are used), but the size
  of a batched product chooses its algorithm, so members of packs of different size agree to float32
  rounding only, and drift apart as training goes on.
- The host waits for the device once per rollout, to note losses, episodes, and who broke.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from core.envs.tensor_batch import TensorBatch
from core.records.measured import Curve
from core.training.action_space import ActionSpace, read_action_space
from core.training.course import LOST, Course, Listener, Span
from core.training.curves import CurveKeeper
from core.training.designs import Rewards
from core.training.device_designs import DeviceDesigns, device_designs
from core.training.device_rollout import (
    TensorActors,
    TensorGaze,
    TensorRollout,
    by_member,
    collect_on_device,
    seen_anew_on_device,
    weigh_on_device,
)
from core.training.device_statistics import TensorMoments, TensorReturnScaler
from core.training.graphs import GraphedUpdate, gradient_step
from core.training.members import Member, Places, scales_of, settings_of, started
from core.training.minibatches import minibatches
from core.training.networks import Shapes
from core.training.normalise import ReturnScaler, RunningMoments, prior_of
from core.training.ppo import Experience, Hyper, Losses, Stack, hyper_of, new_stack
from core.training.rollout import noise_of
from core.training.settings import PPOSettings, check_rollout
from core.training.streams import Purpose, environment_seeds, stream
from core.training.weights import Progressed, export_checkpoint, export_weights

HOST = torch.device("cpu")


@dataclass(slots=True)
class DevicePack:
    """P members in training on one device.  Make one with `new_device_pack`; use it as a `Pack`."""

    course: Course
    batch: TensorBatch
    settings: PPOSettings
    hyper: Hyper
    scales: tuple[Tensor, Tensor]
    designs: DeviceDesigns
    space: ActionSpace
    stack: Stack
    observed: TensorMoments
    returns: TensorReturnScaler
    curves: CurveKeeper
    state: Tensor
    rates: Tensor = field(init=False)
    update: GraphedUpdate = field(init=False)
    noise: Tensor | None = None

    def __post_init__(self) -> None:
        self.rates = self.hyper.learning_rate.clone()
        self.update = GraphedUpdate(self.stack, gradient_step(self.stack, self.hyper))

    @property
    def envs(self) -> int:
        """Return N, environments per member."""
        return self.batch.rows // len(self.course.members)

    @property
    def computed_by(self) -> str:
        """Name what computes the networks."""
        return f"torch on {self.batch.device.type}"

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

    def train(self, span: Span) -> None:
        """Train until `span.stop` environment steps per member, or until nobody can go on."""
        self.course.take_out(self.designs.rejections, self._silence)
        self.course.run(span, lambda: self.advance(self._rate(span.total)), self.weights)

    def advance(self, rate: float = 1.0) -> None:
        """Collect one rollout and learn from it; see `Pack.advance`."""
        gaze = self._gaze()
        noise = self.noise if self.noise is not None else self._draw_noise(self.progressed.rollouts)
        actors = TensorActors(self.stack, gaze, self.space)
        tick = self.course.tick
        rollout, self.state = collect_on_device(self.batch, self.state, actors, noise, tick)
        rewards = earned = self.designs.earn(rollout)
        if self.settings.normalise_rewards:
            rewards = self.returns.scale(earned, rollout.ended)
        raw = by_member(rollout.raw)
        if not self.progressed.rollouts:
            self.observed.add(raw)
            gaze = self._gaze()
            rollout = seen_anew_on_device(rollout, gaze)
        losses = self._learn(weigh_on_device(rollout, rewards, self.stack, gaze, self.scales), rate)
        if self.progressed.rollouts:
            self.observed.add(raw)
        self.noise = self._draw_noise(self.progressed.rollouts + 1)  # while the device works
        self._look(rollout, earned, losses)

    def weights(self) -> dict[int, bytes]:
        """Return the weights of the living members, for scoring."""
        size, observations = (
            self.batch.layout.observation_size,
            self.settings.normalise_observations,
        )
        mean, scale = self.observed.on_host().sight(size, observations)
        stack = moved(self.stack, HOST)
        return {
            m: export_weights(stack, m, self.inputs_of(m), self.space, (mean[m], scale[m]))
            for m in self.living
        }

    def checkpoints(self) -> dict[int, bytes]:
        """Return the checkpoints of the living members."""
        stack, observed = moved(self.stack, HOST), self.observed.on_host()
        returns = self.returns.on_host()
        return {
            m: export_checkpoint(stack, m, self.inputs_of(m), observed, returns, self.progressed)
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

    def _learn(self, experience: Experience, rate: float) -> Losses:
        self.hyper.learning_rate.copy_(self.rates * rate)
        rng = stream(0, Purpose.MINIBATCHES, self.progressed.rollouts)
        return self.update(experience, minibatches(experience.inputs.shape[1], self.settings, rng))

    def _look(self, rollout: TensorRollout, earned: Tensor, losses: Losses) -> None:
        """Wait for the device: note what was lived and learnt, and take out who broke."""
        self.batch.look()
        components = self.designs.look()
        native, ended = (tensor.cpu().numpy() for tensor in (rollout.native, rollout.ended))
        steps, _, envs = native.shape
        self.course.count(steps * envs)
        self.curves.watch(native, ended)
        self._take_out_broken(losses)
        self.course.take_out(self.designs.rejections, self._silence)
        self._note(earned.mean((0, 2)).tolist(), losses, components)

    def _take_out_broken(self, losses: Losses) -> None:
        finite = torch.isfinite(self.stack.flat).all(1) & torch.isfinite(losses.value)
        lost = np.flatnonzero(~finite.cpu().numpy()).tolist()
        told = self.designs.rejections  # the program's own fault says more
        self.course.take_out({m: LOST for m in lost if m not in told}, self._silence)

    def _note(
        self, rewards: Sequence[float], losses: Losses, components: Sequence[Mapping[str, float]]
    ) -> None:
        learnt = {name: getattr(losses, name).tolist() for name in Losses.__slots__}
        for member in self.living:
            said = {"training_reward": rewards[member]}
            said |= {name: values[member] for name, values in learnt.items()}
            if components:
                said |= {f"component.{n}": v for n, v in components[member].items()}
            self.curves.add(member, self.progressed.steps, said)

    def _gaze(self) -> TensorGaze:
        """Freeze what the policies see for the length of one rollout."""
        size = self.batch.layout.observation_size
        mean, scale = self.observed.sight(size, self.settings.normalise_observations)
        return TensorGaze(size, self.designs.features, mean[:, None], scale[:, None])

    def _draw_noise(self, rollout: int) -> Tensor:
        seeds = [member.seed for member in self.course.members]
        noise = noise_of(self.space, seeds, rollout, self.settings.rollout, self.envs)
        return torch.from_numpy(noise).to(self.batch.device)


def new_device_pack(
    members: Sequence[Member],
    rewards: Rewards,
    batch: TensorBatch,
    settings: PPOSettings,
    listener: Listener,
) -> DevicePack:
    """Put members into their places on the batch's device; see `core.training.pack.new_pack`.

    Raises:
        InvalidInput: a member differs in a setting that a pack must share, or a rollout is too short.
        CheckpointUnusable: checkpoints are not of this network, or not equally far.
    """
    envs, begun = batch.rows // len(members), started(members)
    check_rollout(settings, envs)
    seeds = [s for m in members for s in environment_seeds(m.seed, begun.rollouts, envs)]
    state = batch.reset(seeds)
    designs = device_designs(rewards, [member.arm for member in members], batch.device)
    designs.learn_feature_counts(state.view(len(members), envs, -1))
    space = read_action_space(batch.action)
    inputs = batch.layout.observation_size + max(designs.feature_counts, default=0)
    stack = new_stack(Shapes(inputs, settings.hidden, space.size, not space.discrete), len(members))
    own = [settings_of(member, settings) for member in members]
    scales = scales_of(own)
    prior = prior_of(batch.layout.observation_size, inputs)
    observed = RunningMoments(len(members), inputs, prior)
    returns = ReturnScaler(len(members), envs, scales.gamma)
    places = Places(stack, observed, returns)
    for place, member in enumerate(members):
        if place not in designs.rejections:
            width = batch.layout.observation_size + designs.feature_counts[place]
            places.put(place, member, width, settings.log_std)
    gamma, gae_lambda = (
        torch.tensor(values, device=batch.device) for values in (scales.gamma, scales.gae_lambda)
    )
    return DevicePack(
        course=Course(members, listener, begun),
        batch=batch,
        settings=settings,
        hyper=hyper_on(batch.device, own),
        scales=(gamma, gae_lambda),
        designs=designs,
        space=space,
        stack=moved(stack, batch.device, len(members)),
        observed=TensorMoments(observed, batch.device),
        returns=TensorReturnScaler(returns, gamma, envs, batch.device),
        curves=CurveKeeper(len(members), envs, resumed=begun.steps > 0),
        state=state,
    )


def hyper_on(device: torch.device, own: Sequence[PPOSettings]) -> Hyper:
    """Return the members' settings side by side on a device, without what pads a stack of one."""
    hyper = hyper_of(own)
    tensors = (getattr(hyper, name)[: len(own)] for name in Hyper.__slots__)
    return Hyper(*(tensor.to(device, copy=True) for tensor in tensors))


def moved(stack: Stack, device: torch.device, members: int | None = None) -> Stack:
    """Return a copy of a stack's first rows on another device; all of them unless said."""
    tensors = (stack.flat, stack.first, stack.second, stack.updates, stack.living)
    return Stack(stack.shapes, *(tensor[:members].to(device, copy=True) for tensor in tensors))
