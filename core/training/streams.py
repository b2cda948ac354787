"""Random streams, keyed by what they are for and never by a place in a pack.

A stream is made anew for every rollout, so a checkpoint needs to remember no more than how many
rollouts there have been.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for.  The numbers are part of what makes a run reproducible."""

    WEIGHTS = 1
    ACTIONS = 2
    ENVIRONMENTS = 3
    MINIBATCHES = 4


def stream(seed: int, purpose: Purpose, rollout: int = 0) -> np.random.Generator:
    """Return the generator of a run's seed for one purpose in one rollout."""
    key = np.random.SeedSequence(seed, spawn_key=(int(purpose), rollout))
    return np.random.Generator(np.random.PCG64(key))


def environment_seeds(seed: int, rollout: int, count: int) -> list[int]:
    """Return the seeds of a run's environments when they are (re)started before a rollout."""
    key = np.random.SeedSequence(seed, spawn_key=(int(Purpose.ENVIRONMENTS), rollout))
    return [int(value) for value in key.generate_state(count)]
