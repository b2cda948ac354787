"""How the inputs of a policy relate to the fitness: statistics that judge a state representation.

`smooth` and `explains` ask what an input tells of the fitness signal; `redundant` whether another
input tells the same; `lipschitz` is the statistic by which LESR judges inputs, for comparison.

The idea that a good input changes the reward smoothly is LESR's (arXiv 2407.13237).  Its statistic is
the largest slope between neighbours, in the input's own unit, so an input can be "improved" by being
rescaled, one pair of rows decides, and an input that tells nothing may look good.  `smooth` is
free of units, is taken from averages over quantile bins, leaves out the roughest twentieth, and is
told beside what the input explains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

WINDOW = 50_000  # newest rows that are looked at
BINS = 64
BIN_ROWS = 32  # fewer rows make fewer bins, for a mean of few says little
ROUGHEST = 95  # percentile of the changes between neighbouring bins
LEAST_DISTANCE = 0.05  # between neighbouring bins, in standard deviations
SPARSE = 0.05  # share of steps with a signal, below which what is still to come is looked at
DISCOUNT = 0.99
ROUNDING = 1e-6  # of the mean: a smaller deviation is none
LESR_OFFSET = 0.01
LESR_KEPT = 0.995


@dataclass(frozen=True, slots=True)
class InputStatistics:
    """What is known of one input; `TermStatistics` says what each means."""

    smooth: float | None
    explains: float | None
    redundant: float
    lipschitz: float


def relate(
    inputs: npt.NDArray[np.floating],
    signal: Doubles,
    native: npt.NDArray[np.floating],
    episode: Integers,
) -> list[InputStatistics]:
    """Return the statistics of every input.

    Args:
        inputs:  [N, I] of the states that were reached.
        signal:  [N] of the fitness, as `fitness_signal` gives it.
        native:  [N] reward of the environment, by which LESR judges.
        episode: [N] to which episode a row belongs; episodes lie one after the other.
    """
    newest = inputs[-WINDOW:].astype(np.float64)
    constants = lipschitz(inputs, native, episode)
    repeated = redundancy(newest)
    told = [told_by(column, signal[-WINDOW:]) for column in newest.T]
    return [
        InputStatistics(smooth, explains, float(repeated[i]), float(constants[i]))
        for i, (smooth, explains) in enumerate(told)
    ]


# --- the signal -------------------------------------------------------------------------------


def fitness_signal(
    steps: Doubles, episode: Integers, terminated: npt.NDArray[np.bool_], discount: float = DISCOUNT
) -> Doubles:
    """Return what every step says of the fitness, [N].

    It is the fitness per step, or, where fewer than SPARSE of the steps differ from the usual one,
    what is still to come: the discounted sum to the episode's end.

    Args:
        steps:      [N] fitness per step, as `core.fitness.step_fitness` spreads it.
        episode:    [N] to which episode a row belongs; episodes lie one after the other.
        terminated: [N] whether the episode ended there for good.
        discount:   of what is still to come.
    """
    usual = np.median(steps)
    if np.mean(steps != usual) >= SPARSE:
        return steps
    return _still_to_come(steps, episode, terminated, discount)


def _still_to_come(
    steps: Doubles, episode: Integers, terminated: npt.NDArray[np.bool_], discount: float
) -> Doubles:
    """Return discounted sums; an episode that was only cut is taken to go on at its average."""
    coming = np.empty(len(steps))
    for rows in _episodes(episode):
        own = steps[rows]
        running = 0.0 if terminated[rows][-1] else float(own.mean()) / (1.0 - discount)
        for place in range(len(own) - 1, -1, -1):
            running = own[place] + discount * running
            coming[rows.start + place] = running
    return coming


def _episodes(episode: Integers) -> Iterator[slice]:
    """Return the rows of every episode, in order."""
    borders = np.flatnonzero(np.diff(episode)) + 1
    starts = [0, *borders.tolist()]
    yield from (slice(a, b) for a, b in zip(starts, [*starts[1:], len(episode)], strict=True))


# --- what an input tells ----------------------------------------------------------------------


def told_by(values: Doubles, signal: Doubles) -> tuple[float | None, float | None]:
    """Return `smooth` and `explains` of one input.

    Rows go into at most BINS bins of equally many by the input's value; equal values share a bin.
    `smooth` is the 95th percentile over neighbouring bins of |Δ mean signal| / |Δ mean input|, both in
    standard deviations, the distance no less than LEAST_DISTANCE; None for an input with one bin.
    `explains` is the variance of the signal's means between bins over its whole variance, 0 to 1.
    Both are None if the signal does not vary or there are too few rows for two bins.

    Args:
        values: [N] of the input.
        signal: [N] of the fitness.
    """
    bins = min(BINS, len(values) // BIN_ROWS)
    if bins < 2 or constant(signal):
        return None, None
    if constant(values):
        return None, 0.0
    y = (signal - signal.mean()) / signal.std()
    z = (values - values.mean()) / values.std()
    places = _bins_of(values, bins)
    counts = np.bincount(places)
    y_means, z_means = (np.bincount(places, weights=w) / counts for w in (y, z))
    explains = float(np.clip((counts * y_means**2).sum() / len(y), 0.0, 1.0))
    if len(counts) < 2:
        return None, explains
    distances = np.maximum(np.diff(z_means), LEAST_DISTANCE)
    return float(np.percentile(np.abs(np.diff(y_means)) / distances, ROUGHEST)), explains


def _bins_of(values: Doubles, bins: int) -> Integers:
    """Return the bin of every row, [N], counted from 0 without gaps, in the order of the values."""
    ranks = np.searchsorted(np.sort(values), values, side="left")
    _, places = np.unique(ranks * bins // len(values), return_inverse=True)
    return places.astype(np.int64)


def constant(values: Doubles) -> bool:
    """Tell whether values [N] vary by no more than what is rounded.

    >>> constant(np.full(3, 0.1)), constant(np.array([0.0, 1e-9]))
    (True, False)
    """
    return bool(values.std() <= ROUNDING * abs(values.mean()))


def redundancy(inputs: Doubles) -> Doubles:
    """Return the largest |correlation| of every input [N, I] with another one, [I].

    0 for an input that does not vary, and where there is no other.
    """
    varies = ~np.array([constant(column) for column in inputs.T], np.bool_)
    centred = inputs - inputs.mean(axis=0)
    lengths = np.where(varies, np.linalg.norm(centred, axis=0), 1.0)
    unit = np.where(varies, centred / lengths, 0.0)
    correlations = np.abs(unit.T @ unit)
    np.fill_diagonal(correlations, 0.0)
    largest: Doubles = np.minimum(correlations.max(axis=0, initial=0.0), 1.0)
    return largest


def lipschitz(
    inputs: npt.NDArray[np.floating], native: npt.NDArray[np.floating], episode: Integers
) -> Doubles:
    """Return the constant of every input [N, I] as LESR computes it, [I]; lower is smoother.

    After each episode its rows are sorted by the input; the largest |Δ reward| / (|Δ input| + 0.01)
    between neighbours goes into an exponential average, constant ← 0.995 constant + 0.005 largest,
    which begins at 0.  So few episodes leave it near 0: compare inputs of one recording only.  The
    released program never forgets earlier episodes' rows; here each episode is looked at by itself.
    """
    constants = np.zeros(inputs.shape[1])
    for rows in _episodes(episode):
        own, paid = inputs[rows].astype(np.float64), native[rows].astype(np.float64)
        if len(own) < 2:
            continue
        order = np.argsort(own, axis=0, kind="stable")
        distances = np.diff(np.take_along_axis(own, order, axis=0), axis=0)
        largest = (np.abs(np.diff(paid[order], axis=0)) / (distances + LESR_OFFSET)).max(axis=0)
        constants = LESR_KEPT * constants + (1.0 - LESR_KEPT) * largest
    return constants
