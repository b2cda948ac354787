"""From a rollout to what an update needs: values, advantages and log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from core.fields import Floats
from core.training.advantages import estimate_advantages
from core.training.backends import Networks, log_probs_of
from core.training.blocks import by_member, by_time
from core.training.ppo import Experience, Stack
from core.training.rollout import Gaze, Rollout


@dataclass(frozen=True, slots=True)
class Scales:
    """How the members weigh the future, each [P, 1]: discount and trace decay."""

    gamma: Floats
    gae_lambda: Floats


@dataclass(frozen=True, slots=True)
class Critics:
    """The networks that look back at a rollout, not yet updated, and the gaze they had in it."""

    networks: Networks
    stack: Stack
    gaze: Gaze


def weigh(rollout: Rollout, rewards: Floats, critics: Critics, scales: Scales) -> Experience:
    """Evaluate a rollout with the networks that acted in it, in one pass each.

    Args:
        rollout: [T, P, N, ...] what happened.
        rewards: [T, P, N] what it was worth, scaled.
        critics: who evaluates.
        scales:  discount and trace decay.
    """
    networks = critics.networks
    inputs, actions = by_member(rollout.inputs), by_member(rollout.actions)
    log_probs = log_probs_of(critics.stack, networks.policy(inputs), actions)
    flat = networks.values(inputs)
    values = by_time(flat, len(rewards))
    advantages = estimate_advantages(
        rewards,
        values,
        following_values(rollout, values, critics),
        rollout.terminated,
        rollout.ended,
        scales.gamma,
        scales.gae_lambda,
    )
    gained = by_member(advantages)
    arrays = (inputs, actions, log_probs, gained, gained + flat)
    return Experience(*(torch.from_numpy(array) for array in arrays))


def following_values(rollout: Rollout, values: Floats, critics: Critics) -> Floats:
    """Return the value of the state that each step reached, [T, P, N].

    That is the next step's own value, but for the last step and for steps at which a time limit cut
    the episode: there the state reached before the reset is evaluated.
    """
    gaze = critics.gaze
    following = np.empty_like(values)
    following[:-1] = values[1:]
    apart = rollout.truncated & ~rollout.terminated
    apart[-1] = True
    for t in np.flatnonzero(apart.any(axis=(1, 2))):
        inputs = gaze.inputs(gaze.raw(rollout.following[t]))
        reached = critics.networks.values(inputs)
        following[t] = np.where(apart[t], reached, following[t])
    return following
