"""Small-sample statistics for comparing learning runs: mean, IQM, bootstrap, improvement.

Source: Agarwal et al. 2021, "Deep RL at the Edge of the Statistical Precipice" (arXiv 2108.13264).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from core.records.kinds import Verdict
from core.records.outcome import Interval

RESAMPLES = 10_000
ROUNDING = 1e-12  # of a difference of means, relative to the largest of the values


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean.

    Raises:
        ValueError: no values.
    """
    return float(np.mean(_checked(values)))


def iqm(values: Sequence[float]) -> float:
    """Return the interquartile mean: the mean of the middle half, with fractional end weights.

    >>> iqm([0.0, 1.0, 2.0, 100.0])
    1.5
    """
    ordered = np.sort(_checked(values))
    n = len(ordered)
    edges = np.arange(n + 1) / n
    inside = np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25)
    return float(np.average(ordered, weights=np.clip(inside, 0.0, None)))


def bootstrap_interval(values: Sequence[float], *, seed: int = 0, level: float = 0.95) -> Interval:
    """Return the mean with its percentile-bootstrap interval over runs.

    Args:
        values: one number per independent run (training seed).
        seed:   of the resampling, so that a report can be made again.
        level:  coverage.
    """
    sample = _checked(values)
    draws = _resampling(len(sample), seed) @ sample / len(sample)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(float(sample.mean()), float(low), float(high), len(sample))


@lru_cache(maxsize=16)
def _resampling(n: int, seed: int) -> npt.NDArray[np.float64]:
    """Return how often each of n values is in each resample, [RESAMPLES, n]."""
    drawn = np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))
    counts: npt.NDArray[np.float64] = (drawn[:, :, None] == np.arange(n)).sum(1, np.float64)
    return counts


def lower_bound(values: Sequence[float]) -> float:
    """Return mean − one standard error, the value by which uncertain candidates are compared.

    With a single value there is no spread to speak of, and the value itself is returned.
    """
    return mean(values) - standard_error(values)


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; 0 for a single value, which shows no spread."""
    sample = _checked(values)
    if len(sample) < 2:
        return 0.0
    return float(sample.std(ddof=1) / math.sqrt(len(sample)))


def told_by(correlation: float | None, pairs: int) -> float | None:
    """Return a rank correlation where so many pairs tell it from 0, None where they do not.

    Beyond 1.96 / sqrt(pairs - 1), which chance alone exceeds in 5 of 100 cases.  Of a correlation of an
    unknown number of pairs, 0, nothing can be said against it.

    >>> told_by(0.5, 20), told_by(0.4, 20), told_by(0.4, 0)
    (0.5, None, 0.4)
    """
    if correlation is None or pairs == 0:
        return correlation
    return correlation if abs(correlation) > 1.96 / math.sqrt(max(pairs - 1, 1)) else None


def probability_of_improvement(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the chance that a run of `x` is better than a run of `y`; ties count half.

    >>> probability_of_improvement([2.0, 3.0], [1.0, 3.0])
    0.625
    """
    a, b = _checked(x)[:, None], _checked(y)[None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())


def difference_interval(
    x: Sequence[float], y: Sequence[float], *, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return mean(x) − mean(y) with a bootstrap interval that resamples both sides."""
    a, b = _checked(x), _checked(y)
    rng = np.random.default_rng(seed)
    draws_a = a[rng.integers(0, len(a), size=(RESAMPLES, len(a)))].mean(axis=1)
    draws_b = b[rng.integers(0, len(b), size=(RESAMPLES, len(b)))].mean(axis=1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(draws_a - draws_b, [tail, 1.0 - tail])
    return Interval(float(a.mean() - b.mean()), float(low), float(high), min(len(a), len(b)))


def verdict(
    designed: Sequence[float], native: Sequence[float], *, chosen_from: int = 1, seed: int = 0
) -> Verdict:
    """Say whether the designed arm is better, equal or worse on fresh seeds.

    Args:
        designed:    fitness of each run of the design.
        native:      fitness of each run of the native reward.
        chosen_from: how many designs the best was chosen from on these same seeds; the threshold is
            divided by it (Bonferroni), or the luckiest of several equals would win too often.
        seed:        of the resampling, where there are too many arrangements to count.

    "Equal" means that the two samples do not tell them apart.  The percentile bootstrap is too narrow
    at five runs a side, so a permutation test decides: under the null hypothesis the labels are
    exchangeable, and a false "better" comes up in at most 2.5 % of jobs.
    """
    a, b = _checked(designed), _checked(native)
    difference = float(a.mean() - b.mean())
    if permutation_p(a, b, seed=seed) > 0.05 / chosen_from or difference == 0.0:
        return "equal"
    return "better" if difference > 0 else "worse"


def permutation_p(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], *, seed: int = 0
) -> float:
    """Return the two-sided p-value of a permutation test on the difference of means.

    Exact when there are at most 20,000 ways to deal the labels, sampled otherwise.  An arrangement that
    ties with the observed one counts, however the sums were rounded.
    """
    pooled = np.concatenate([x, y])
    observed = abs(x.mean() - y.mean()) - ROUNDING * np.abs(pooled).max()
    ways = math.comb(len(pooled), len(x))
    picks = _all_picks(len(pooled), len(x)) if ways <= 20_000 else _some_picks(pooled, x, seed)
    sums = pooled[picks].sum(axis=1)
    other = (pooled.sum() - sums) / len(y)
    extreme = int((np.abs(sums / len(x) - other) >= observed).sum())
    return extreme / ways if ways <= 20_000 else (extreme + 1) / (len(picks) + 1)


@cache
def _all_picks(n: int, k: int) -> npt.NDArray[np.int64]:
    return np.array(list(combinations(range(n), k)), dtype=np.int64)


def _some_picks(
    pooled: npt.NDArray[np.float64], x: npt.NDArray[np.float64], seed: int
) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    order = rng.random((RESAMPLES, len(pooled))).argsort(axis=1)
    return order[:, : len(x)]


def _checked(values: Sequence[float]) -> npt.NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError(f"expected finite numbers, at least one, but found {list(values)[:5]}")
    return sample
