"""From a rollout to what an update needs: values, advantages and log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from core.fields import Floats
from core.training.advantages import estimate_advantages
from core.training.ppo import Experience, Stack, evaluate, policy_of, values_of
from core.training.rollout import Gaze, Rollout
from core.training.settings import PPOSettings


def weigh(
    rollout: Rollout, rewards: Floats, stack: Stack, gaze: Gaze, settings: PPOSettings
) -> Experience:
    """Evaluate a rollout with the networks that acted in it, in one pass each.

    Args:
        rollout:  [T, P, N, ...] what happened.
        rewards:  [T, P, N] what it was worth, scaled.
        stack:    the networks, not yet updated.
        gaze:     the frozen statistics with which they saw the rollout.
        settings: discount and trace decay.
    """
    inputs = torch.from_numpy(by_member(rollout.inputs))
    actions = torch.from_numpy(by_member(rollout.actions))
    log_probs, _ = evaluate(stack, policy_of(stack, inputs), actions)
    flat = values_of(stack, inputs)
    values = _by_time(flat.numpy(), len(rewards))
    following = following_values(rollout, values, stack, gaze)
    advantages = estimate_advantages(
        rewards,
        values,
        following,
        rollout.terminated,
        rollout.ended,
        settings.gamma,
        settings.gae_lambda,
    )
    gained = torch.from_numpy(by_member(advantages))
    return Experience(inputs, actions, log_probs, gained, gained + flat)


def following_values(rollout: Rollout, values: Floats, stack: Stack, gaze: Gaze) -> Floats:
    """Return the value of the state that each step reached, [T, P, N].

    That is the next step's own value, but for the last step and for steps at which a time limit cut
    the episode: there the state reached before the reset is evaluated.
    """
    following = np.empty_like(values)
    following[:-1] = values[1:]
    apart = rollout.truncated & ~rollout.terminated
    apart[-1] = True
    for t in np.flatnonzero(apart.any(axis=(1, 2))):
        inputs = gaze.inputs(gaze.raw(rollout.following[t]))
        reached = values_of(stack, torch.from_numpy(inputs)).numpy()
        following[t] = np.where(apart[t], reached, following[t])
    return following


def by_member(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn [T, P, N, ...] into [P, T·N, ...], contiguous."""
    swapped = np.ascontiguousarray(array.swapaxes(0, 1))
    return swapped.reshape(swapped.shape[0], -1, *swapped.shape[3:])


def _by_time(values: Floats, steps: int) -> Floats:
    """Turn [P, T·N] into [T, P, N]."""
    return np.ascontiguousarray(values.reshape(len(values), steps, -1).swapaxes(0, 1))
