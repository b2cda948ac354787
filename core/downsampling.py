"""Long series made short enough to be drawn, without losing an extreme.

A chart of 500 points has to show the same peaks as one of a million.  Every bucket of neighbouring
points keeps its lowest and its highest one, and the first and the last point stay where they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FEWEST_POINTS = 4  # the first, the last, and one bucket of a lowest and a highest


def thinned(values: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """Choose which points of a series are shown.

    Args:
        values: [T], finite.
        most:   how many at most, FEWEST_POINTS or more.

    Returns:
        Places in `values`, ascending, without doubles: all of them if there are no more than `most`,
        else the first, the last, and of each of at most (most - 2) // 2 buckets the lowest and the
        highest point.

    Raises:
        ValueError: `most` is too small.

    >>> thinned(np.array([0.0, 1.0, 9.0, 2.0, -5.0, 3.0, 0.0]), 4).tolist()
    [0, 2, 4, 6]
    """
    if most < FEWEST_POINTS:
        raise ValueError(f"expected at least {FEWEST_POINTS} points, but found {most}")
    count = len(values)
    if count <= most:
        return np.arange(count)
    width = -(-count // ((most - 2) // 2))
    buckets = np.pad(values, (0, -count % width), mode="edge").reshape(-1, width)
    starts = width * np.arange(len(buckets))
    lowest = np.minimum(starts + buckets.argmin(axis=1), count - 1)
    highest = np.minimum(starts + buckets.argmax(axis=1), count - 1)
    return np.unique(np.concatenate([[0, count - 1], lowest, highest]))
