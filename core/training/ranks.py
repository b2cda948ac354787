"""Rank correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Spearman's ρ with average ranks for ties; None where a side does not vary.

    >>> spearman([1.0, 2.0, 3.0], [10.0, 20.0, 15.0])
    0.5
    """
    a, b = _ranks(x), _ranks(y)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else None


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return ranks from 0; equal values share the mean of their places."""
    _, inverse, counts = np.unique(
        np.asarray(values, np.float64), return_inverse=True, return_counts=True
    )
    ends = np.cumsum(counts)
    means = ends - (counts + 1) / 2
    ranks: npt.NDArray[np.float64] = means[inverse]
    return ranks
