"""Collecting experience on one device: the loop of `core.training.rollout` without a host in it.

Between the first and the last step of a rollout nothing is read back, so the device is never idle
for want of an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from core.envs.tensor_batch import TensorBatch
from core.training.action_space import ActionSpace
from core.training.device_statistics import advantages_of
from core.training.normalise import CLIP
from core.training.ppo import Experience, Stack, evaluate, policy_of, values_of
from core.training.rollout import Rollout, half_range, middle


@dataclass(frozen=True, slots=True)
class TensorRollout:
    """What T steps of P members in N environments each gave, [T, P, N, ...]; see `Rollout`."""

    raw: Tensor
    inputs: Tensor
    actions: Tensor
    received: Tensor
    states: Tensor
    following: Tensor
    native: Tensor
    terminated: Tensor
    truncated: Tensor

    @property
    def ended(self) -> Tensor:
        """Return where episodes ended, for whatever reason."""
        return self.terminated | self.truncated

    def on_host(self) -> Rollout:
        """Return the same as arrays; waits for the device."""
        return Rollout(*(getattr(self, field.name).cpu().numpy() for field in fields(self)))


@dataclass(frozen=True, slots=True)
class TensorGaze:
    """What policies see of states, normalised with frozen statistics [P, 1, I]; see `Gaze`."""

    observation_size: int
    features: Callable[[Tensor], Tensor]
    mean: Tensor
    scale: Tensor

    def raw(self, states: Tensor) -> Tensor:
        """Return observation and features [P, B, I] of states [P, B, ≥ state_size]."""
        observed = states[..., : self.observation_size]
        features = self.features(states)
        return torch.cat([observed, features], -1) if features.shape[-1] else observed

    def inputs(self, raw: Tensor) -> Tensor:
        """Return what the policies see."""
        return ((raw - self.mean) * self.scale).clamp(-CLIP, CLIP)


@dataclass(frozen=True, slots=True)
class TensorActors:
    """The policies of a pack, what they see, and what their outputs become; see `Actors`."""

    stack: Stack
    gaze: TensorGaze
    space: ActionSpace

    def act(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """Return choices [P, N] or vectors [P, N, A] in half ranges, drawn with the given noise."""
        output = policy_of(self.stack, inputs)
        if self.space.discrete:
            return (output + noise).argmax(-1)
        return output + self.stack.params["policy.log_std"].exp()[:, None] * noise

    def received(self, action: Tensor, middle: Tensor, half: Tensor) -> Tensor:
        """Return what the environment receives: inside the bounds, in its own units."""
        if self.space.discrete:
            return action
        return middle + half * action.clamp(-1.0, 1.0).nan_to_num()


@torch.no_grad()
def collect_on_device(
    batch: TensorBatch,
    state: Tensor,
    actors: TensorActors,
    noise: Tensor,
    tick: Callable[[int], None],
) -> tuple[TensorRollout, Tensor]:
    """Let the policies act for T steps; the arguments are those of `core.training.rollout.collect`."""
    steps, members, envs, _ = noise.shape
    rows = members * envs
    kept = _room(noise, actors, batch)
    centre = torch.from_numpy(middle(actors.space)).to(batch.device)
    half = torch.from_numpy(half_range(actors.space)).to(batch.device)
    for t in range(steps):
        blocks = state.view(members, envs, -1)
        kept.states[t] = blocks
        kept.raw[t] = raw = actors.gaze.raw(blocks)
        kept.inputs[t] = inputs = actors.gaze.inputs(raw)
        kept.actions[t] = action = actors.act(inputs, noise[t])
        kept.received[t] = given = actors.received(action, centre, half)
        step = batch.step(given.reshape(rows, *given.shape[2:]))
        kept.following[t] = step.next_block.view(members, envs, -1)
        kept.native[t] = step.native.view(members, envs)
        kept.terminated[t] = step.terminated.view(members, envs)
        kept.truncated[t] = step.truncated.view(members, envs)
        state = step.state
        tick((t + 1) * envs)
    return kept, state


def seen_anew_on_device(rollout: TensorRollout, gaze: TensorGaze) -> TensorRollout:
    """Return the rollout as policies see it with other statistics."""
    return replace(rollout, inputs=gaze.inputs(rollout.raw))


def _room(noise: Tensor, actors: TensorActors, batch: TensorBatch) -> TensorRollout:
    shape, discrete, device = noise.shape[:3], actors.space.discrete, batch.device
    inputs = (*shape, actors.gaze.mean.shape[-1])
    action, kind = (shape, torch.int64) if discrete else (noise.shape, torch.float32)
    return TensorRollout(
        raw=torch.empty(inputs, device=device),
        inputs=torch.empty(inputs, device=device),
        actions=torch.empty(action, dtype=kind, device=device),
        received=torch.empty(action, dtype=kind, device=device),
        states=torch.empty((*shape, batch.layout.state_size), device=device),
        following=torch.empty((*shape, batch.layout.size), device=device),
        native=torch.empty(shape, device=device),
        terminated=torch.empty(shape, dtype=torch.bool, device=device),
        truncated=torch.empty(shape, dtype=torch.bool, device=device),
    )


@torch.no_grad()
def weigh_on_device(
    rollout: TensorRollout,
    rewards: Tensor,
    stack: Stack,
    gaze: TensorGaze,
    scales: tuple[Tensor, Tensor],
) -> Experience:
    """Evaluate a rollout with the networks that acted in it; see `core.training.experience.weigh`.

    `scales` are discount and trace decay, [P, 1] each.
    """
    inputs, actions = by_member(rollout.inputs), by_member(rollout.actions)
    log_probs, _ = evaluate(stack, policy_of(stack, inputs), actions)
    flat = values_of(stack, inputs)
    values = _by_time(flat, len(rewards))
    advantages = advantages_of(
        rewards,
        values,
        _following_values(rollout, values, stack, gaze),
        rollout.terminated,
        rollout.ended,
        *scales,
    )
    gained = by_member(advantages)
    return Experience(inputs, actions, log_probs, gained, gained + flat)


def _following_values(
    rollout: TensorRollout, values: Tensor, stack: Stack, gaze: TensorGaze
) -> Tensor:
    """Return the value of the state that each step reached, [T, P, N].

    Which steps a time limit cut is known on the device alone, so all states reached are evaluated
    and those chosen that count: one more pass costs less than one question.
    """
    following = torch.cat([values[1:], torch.zeros_like(values[:1])])
    apart = rollout.truncated & ~rollout.terminated
    apart[-1] = True
    inputs = gaze.inputs(gaze.raw(by_member(rollout.following)))
    return torch.where(apart, _by_time(values_of(stack, inputs), len(values)), following)


def by_member(tensor: Tensor) -> Tensor:
    """Turn [T, P, N, ...] into [P, T·N, ...], contiguous."""
    swapped = tensor.transpose(0, 1).contiguous()
    return swapped.view(swapped.shape[0], -1, *swapped.shape[3:])


def _by_time(values: Tensor, steps: int) -> Tensor:
    """Turn [P, T·N] into [T, P, N]."""
    return values.view(len(values), steps, -1).transpose(0, 1).contiguous()
