"""How well a reward orders trajectories by their fitness, and how alike two rewards are.  Pure numbers.

Sources: trajectory preference evaluation of CARD (Sun et al. 2025), with fitness in place of a success
flag; EPIC, the canonical form of a reward (Gleave et al. 2021, arXiv 2006.13900).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]

MARGIN = 0.1  # of the range of fitness in the store: what lies closer together is not told apart
ERRORS = 2.0
TIE = 1e-6  # of the range of what trajectories are paid
FEWEST_ROWS = 5.0  # on which two rewards must differ from their means for a correlation to count


@dataclass(frozen=True, slots=True)
class Order:
    """How what trajectories are paid goes with their fitness, over informative pairs.

    Attributes:
        tau:      Kendall's τ, ties in pay corrected for; in -1 … 1.
        accuracy: share of the pairs in the right order, ties counted half.
        pairs:    how many pairs of trajectories differ in fitness beyond the margin.
        worst:    (better, worse) places of the pair that is wrong by most; None if none is.
    """

    tau: float
    accuracy: float
    pairs: int
    worst: tuple[int, int] | None


def order_of(paid: Doubles, fitness: Doubles) -> Order:
    """Compare the order of trajectories by pay [T] with that by fitness [T]."""
    better, worse = informative_pairs(fitness)
    if not len(better):
        return Order(0.0, 0.5, 0, None)
    gap = paid[better] - paid[worse]
    slack = TIE * float(np.ptp(paid))
    right, wrong = gap > slack, gap < -slack
    concordant, discordant, pairs = int(right.sum()), int(wrong.sum()), len(gap)
    told = concordant + discordant
    tau = (concordant - discordant) / np.sqrt(told * pairs) if told else 0.0
    accuracy = (concordant + 0.5 * (pairs - told)) / pairs
    return Order(float(tau), float(accuracy), pairs, _worst(better, worse, gap, fitness, wrong))


def informative_pairs(fitness: Doubles) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the places (better, worse) of all pairs whose fitness differs beyond the margin."""
    if not len(fitness):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    margin = MARGIN * float(np.ptp(fitness))
    better, worse = np.nonzero(fitness[:, None] - fitness[None, :] > max(margin, 1e-12))
    return better.astype(np.int64), worse.astype(np.int64)


def _worst(
    better: npt.NDArray[np.int64],
    worse: npt.NDArray[np.int64],
    gap: Doubles,
    fitness: Doubles,
    wrong: npt.NDArray[np.bool_],
) -> tuple[int, int] | None:
    if not wrong.any():
        return None
    harm = np.where(wrong, -gap * (fitness[better] - fitness[worse]), -np.inf)
    place = int(harm.argmax())
    return int(better[place]), int(worse[place])


def tells_apart(fitness: Sequence[float], sources: Sequence[str]) -> bool:
    """Tell whether two sources differ in mean fitness by more than the noise between episodes."""
    values = np.asarray(fitness, np.float64)
    names = np.asarray(sources)
    moments = []
    for name in dict.fromkeys(sources):
        own = values[names == name]
        if len(own) >= 2:
            moments.append((own.mean(), own.var(ddof=1) / len(own)))
    return any(
        abs(a - b) > max(ERRORS * np.sqrt(u + v), 1e-12)
        for place, (a, u) in enumerate(moments)
        for b, v in moments[place + 1 :]
    )


def canonical(paid: Doubles, from_next: Doubles, from_state: Doubles, gamma: float) -> Doubles:
    """Remove what potential shaping adds: r + γ·m(s') − m(s) − γ·m̄, over R sampled transitions.

    Args:
        paid:       [R] r(s, a, s').
        from_next:  [R] m(s'), the mean of r(s', A, S) over sampled actions and next states.
        from_state: [R] m(s), the same from s.
        gamma:      discount of the learner.
    """
    result: Doubles = paid + gamma * from_next - from_state - gamma * from_state.mean()
    return result


def likeness(one: Doubles, other: Doubles) -> float | None:
    """Return Pearson's correlation [R]; None where too few rows decide it.

    Two sparse rewards that are zero but for the same row are as like as can be, and yet nothing is
    known of them: the deviations must be spread over FEWEST_ROWS rows (participation ratio).
    """
    if _spread_over(one) < FEWEST_ROWS or _spread_over(other) < FEWEST_ROWS:
        return None
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def _spread_over(values: Doubles) -> float:
    if not len(values):
        return 0.0
    deviation = values - values.mean()
    largest = float(np.abs(deviation).max())
    if largest <= 1e-9 * max(1e-3, float(np.abs(values).max())):
        return 0.0
    squares = np.square(deviation / largest)
    return float(squares.sum() ** 2 / np.square(squares).sum())


def best_order(per_step: Doubles, in_sum: Doubles, fitness: Doubles) -> tuple[Order, str]:
    """Return the better of two orders, and by what trajectories were paid in it.

    A task of survival needs the discounted sum, one of early success the mean per step.
    """
    by_sum, by_step = order_of(in_sum, fitness), order_of(per_step, fitness)
    if by_sum.accuracy > by_step.accuracy:
        return by_sum, "discounted sum"
    return by_step, "mean per step"
