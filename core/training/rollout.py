"""Collecting experience: every member acts in its own rows of one batch of environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs import EnvBatch
from core.fields import Floats, Layout
from core.training.action_space import ActionSpace
from core.training.backends import Networks
from core.training.normalise import normalised
from core.training.streams import Purpose, stream


@dataclass(frozen=True, slots=True)
class Rollout:
    """What T steps of P members in N environments each gave; all arrays [T, P, N, ...].

    What programs are called with lies member after member in memory, as they are called.

    Attributes:
        raw:        observations and features, I columns.
        inputs:     the same as the policies saw them, normalised.
        actions:    int64 choices, or float32 actions before clipping, in half action ranges.
        received:   the actions as the environment received them.
        states:     state blocks, following: blocks of the states reached, before any reset.
        native:     the environment's own reward.
        terminated, truncated: how episodes ended.
    """

    raw: Floats
    inputs: Floats
    actions: npt.NDArray[Any]
    received: npt.NDArray[Any]
    states: Floats
    following: Floats
    native: Floats
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]

    @property
    def ended(self) -> npt.NDArray[np.bool_]:
        """Return where episodes ended, for whatever reason."""
        return self.terminated | self.truncated


def middle(space: ActionSpace) -> Floats:
    """Return the middle of the bounds, [A]: what a continuous policy calls 0."""
    return np.asarray((space.low + space.high) / 2, np.float32)


def half_range(space: ActionSpace) -> Floats:
    """Return half the distance between the bounds, [A]: what a continuous policy calls 1."""
    return np.asarray((space.high - space.low) / 2, np.float32)


def draw_noise(space: ActionSpace, rng: np.random.Generator, steps: int, envs: int) -> Floats:
    """Draw one member's exploration noise [T, N, A]: Gumbel for choices, else Gaussian."""
    shape = (steps, envs, space.size)
    if not space.discrete:
        return rng.standard_normal(shape, np.float32)
    exponential = rng.standard_exponential(shape, np.float32)
    return np.negative(np.log(np.maximum(exponential, np.finfo(np.float32).tiny)))


def noise_of(
    space: ActionSpace, seeds: Sequence[int], rollout: int, steps: int, envs: int
) -> Floats:
    """Draw the exploration noise [T, P, N, A] of members by their seeds, each from its own stream."""
    drawn = [
        draw_noise(space, stream(seed, Purpose.ACTIONS, rollout), steps, envs) for seed in seeds
    ]
    return np.stack(drawn, axis=1)


def received(space: ActionSpace, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what the environment receives: inside the bounds, in its own units."""
    if space.discrete:
        return action
    inside = np.nan_to_num(np.clip(action, -1.0, 1.0))
    return np.asarray(middle(space) + half_range(space) * inside, np.float32)


@dataclass(frozen=True, slots=True)
class Gaze:
    """What policies see of states: observation and features, normalised with frozen statistics."""

    observation_size: int
    features: Callable[[Floats], Floats]
    mean: Floats  # [P, 1, I]
    scale: Floats  # [P, 1, I]

    def look(self, states: Floats, raw: Floats) -> None:
        """Write observation and features of states [P, B, ≥ state_size] into raw [P, B, I]."""
        raw[..., : self.observation_size] = states[..., : self.observation_size]
        if raw.shape[-1] > self.observation_size:
            raw[..., self.observation_size :] = self.features(states)

    def raw(self, states: Floats) -> Floats:
        """Return observation and features [P, B, I] of states [P, B, ≥ state_size]."""
        raw = np.empty((*states.shape[:2], self.mean.shape[-1]), np.float32)
        self.look(states, raw)
        return raw

    def inputs(self, raw: Floats) -> Floats:
        """Return what the policies see."""
        return normalised(raw, self.mean, self.scale)


@dataclass(frozen=True, slots=True)
class Actors:
    """The policies of a pack, what they see, and what their outputs become."""

    networks: Networks
    gaze: Gaze
    space: ActionSpace


def collect(
    batch: EnvBatch, state: Floats, actors: Actors, noise: Floats, tick: Callable[[int], None]
) -> tuple[Rollout, Floats]:
    """Let the policies act for T steps.

    Args:
        batch:  P·N rows, member-major.
        state:  [P·N, S] the present state block.
        actors: who acts.
        noise:  [T, P, N, A] exploration noise.
        tick:   told after every step how many steps of each member there have been.

    Returns:
        the rollout, and the state block to go on from.
    """
    steps, members, envs, _ = noise.shape
    rows = members * envs
    gaze, kept = actors.gaze, _room(noise, actors, batch.layout)
    for t in range(steps):
        kept.states[t] = blocks = state.reshape(members, envs, -1)
        gaze.look(blocks, kept.raw[t])
        actors.networks.act(kept.raw[t], noise[t], kept.inputs[t], kept.actions[t])
        kept.received[t] = given = received(actors.space, kept.actions[t])
        step = batch.step(given.reshape(rows, *given.shape[2:]))
        kept.following[t] = step.next_block.reshape(members, envs, -1)
        kept.native[t] = step.native.reshape(members, envs)
        kept.terminated[t] = step.terminated.reshape(members, envs)
        kept.truncated[t] = step.truncated.reshape(members, envs)
        state = step.state
        tick((t + 1) * envs)
    return kept, state


def seen_anew(rollout: Rollout, gaze: Gaze) -> Rollout:
    """Return the rollout as policies see it with other statistics."""
    mean, scale = gaze.mean[None], gaze.scale[None]
    return replace(rollout, inputs=normalised(rollout.raw, mean, scale))


def _room(noise: Floats, actors: Actors, layout: Layout) -> Rollout:
    """Make room for a rollout."""
    shape, discrete = noise.shape[:3], actors.space.discrete
    inputs = (*shape, actors.gaze.mean.shape[-1])
    action, kind = (shape, np.int64) if discrete else (noise.shape, np.float32)
    return Rollout(
        raw=np.empty(inputs, np.float32),
        inputs=np.empty(inputs, np.float32),
        actions=np.empty(action, kind),
        received=_by_member_in_memory(action, kind),
        states=_by_member_in_memory((*shape, layout.state_size), np.float32),
        following=_by_member_in_memory((*shape, layout.size), np.float32),
        native=np.empty(shape, np.float32),
        terminated=np.empty(shape, np.bool_),
        truncated=np.empty(shape, np.bool_),
    )


def _by_member_in_memory(shape: tuple[int, ...], kind: type[np.generic]) -> npt.NDArray[Any]:
    """Make room [T, P, ...] in which the steps of a member are neighbours."""
    steps, members, *rest = shape
    return np.empty((members, steps, *rest), kind).swapaxes(0, 1)
