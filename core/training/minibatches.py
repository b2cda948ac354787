"""Which rows of a rollout make up each minibatch; the same rows for all members of a pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from core.fields import Floats
from core.training.settings import LEAST_ROWS, PPOSettings

Rows: TypeAlias = Sequence[npt.NDArray[np.int64]]
"""The row numbers of every minibatch."""


def minibatches(
    size: int, settings: PPOSettings, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Return row numbers of every minibatch of every epoch.

    All minibatches are nearly equal, and none is too small for a standard deviation.
    """
    count = max(1, min(round(size / settings.minibatch), size // LEAST_ROWS))
    return [
        rows
        for _ in range(settings.epochs)
        for rows in np.array_split(rng.permutation(size), count)
    ]


def in_runs(rows: Rows, size: int) -> Iterator[Rows]:
    """Cut minibatches into runs of at most `size` rows: epochs, where that is a rollout's size."""
    run: list[npt.NDArray[np.int64]] = []
    held = 0
    for one in rows:
        if run and held + len(one) > size:
            yield run
            run, held = [], 0
        run.append(one)
        held += len(one)
    yield run


def shares(rows: Rows, count: int) -> Floats:
    """Return what each row counts in a mean over `count` minibatches' means, as float32."""
    sizes = [len(one) for one in rows]
    return np.repeat([1 / (count * size) for size in sizes], sizes).astype(np.float32)
