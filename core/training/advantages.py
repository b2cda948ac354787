"""Generalised advantage estimation with the two kinds of episode end kept apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.fields import Floats


def estimate_advantages(
    rewards: Floats,
    values: Floats,
    following: Floats,
    terminated: npt.NDArray[np.bool_],
    ended: npt.NDArray[np.bool_],
    gamma: float | Floats,
    gae_lambda: float | Floats,
) -> Floats:
    """Return the advantage of every step, [T, ...].

    Args:
        rewards:    [T, ...] reward of step t.
        values:     [T, ...] value of the state in which step t was taken.
        following:  [T, ...] value of the state that step t reached, before any reset: where a time
                    limit cut the episode, the value of its final state.
        terminated: [T, ...] the episode ended by the environment's own rule: nothing follows.
        ended:      [T, ...] the episode ended for whatever reason: traces do not cross it.
        gamma:      discount; one for all, or an array that fits a step.
        gae_lambda: trace decay, likewise.

    Source: Schulman et al. (arXiv 1506.02438), equation 16; time limits after Pardo et al.
    (arXiv 1712.00378).
    """
    delta = rewards + gamma * following * ~terminated - values
    decay = (gamma * gae_lambda * ~ended).astype(np.float32)
    advantages = np.empty_like(delta)
    trace = np.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        trace = delta[t] + decay[t] * trace
        advantages[t] = trace
    return advantages.astype(np.float32)
