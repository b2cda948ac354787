"""Whose the training seeds are: a thousand per job seed, parted so that no choice sees another's.

The search has the first twenty; the runoff's begin at 200; every confirmation has twenty of its own
from 500 on, which nobody has seen before, and its ablation another twenty of those below 500 that
nobody else has.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.records.history import History
from core.records.measured import Run

MOST_SEED = 2**31 - 1  # of a job
RUNOFF_SEEDS = 200
CONFIRM_SEEDS = 500
CONFIRM_STRIDE = 20  # set aside for the search, the runoff, each confirmation and each ablation
MOST_EXTENSIONS = CONFIRM_SEEDS // CONFIRM_STRIDE - 3  # search, runoff and a first ablation


def for_old_generators(seed: int) -> int:
    """Return a seed as generators of 32 bits take it: `np.random.seed`, and all that are seeded by it.

    Those of a job's trainings are a thousand times as large as its own.
    """
    return seed % 2**32


def search_seeds(history: History) -> tuple[int, ...]:
    """Return the training seeds that baseline and candidates share."""
    first = 1_000 * history.spec.seed
    return tuple(range(first, first + history.spec.training.seeds))


def runoff_seeds(history: History) -> tuple[int, ...]:
    """Return the training seeds of the runoff; an extension leaves them, so that runs still count."""
    first = 1_000 * history.spec.seed + RUNOFF_SEEDS
    return tuple(range(first, first + history.spec.evaluation.runoff_seeds))


def confirm_seeds(history: History) -> tuple[int, ...]:
    """Return training seeds that nobody has seen before, not even in an earlier confirmation."""
    return tuple(_fresh(history))


def present_confirmation(history: History, runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the runs that belong to the confirmation that is wanted now, not to an earlier one."""
    fresh = _fresh(history)
    return tuple(run for run in runs if run.seed in fresh)


def ablation_seeds(history: History) -> tuple[int, ...]:
    """Return seeds that nobody else has; others after an extension.

    By the search's own the winner was chosen: against its lucky runs there, every term looks dear.
    """
    return tuple(_ablated(history))


def present_ablation(history: History, runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the runs that belong to the ablation that is wanted now, not to an earlier one."""
    seeds = _ablated(history)
    return tuple(run for run in runs if run.seed in seeds)


def _fresh(history: History) -> range:
    first = 1_000 * history.spec.seed + CONFIRM_SEEDS + CONFIRM_STRIDE * history.extensions
    return range(first, first + history.spec.evaluation.confirm_seeds)


def _ablated(history: History) -> range:
    place = CONFIRM_STRIDE * (1 + history.extensions)  # behind the search
    if place >= RUNOFF_SEEDS:
        place += CONFIRM_STRIDE
    first = 1_000 * history.spec.seed + place
    return range(first, first + history.spec.evaluation.confirm_seeds)
