"""What scorer, actor and their parent must agree upon: waves of policies, and patience."""

from __future__ import annotations

import math

MOST_ROWS = 48  # where nobody has measured; a MuJoCo object may reserve 25 MiB of address space
_ROWS_OF_ANY_WAVE = 512  # beyond it the cost of a step no longer depends on how many share it
_CAUTION = 2.0  # times what preflight saw of one environment
FRAME_SECONDS = 5.0  # for one exchange of observations and actions
NUMBERS = ("fitness", "native", "length", "terminated")  # what is told of an episode, as float64


def rows_that_fit(row_bytes: int, memory_bytes: int) -> int:
    """Return how many environments fit into memory side by side.

    Args:
        row_bytes:    measured of one environment, address space that it only reserves included; 0
            where it was not measured.
        memory_bytes: what there is for all of them.
    """
    if not row_bytes:
        return MOST_ROWS
    return max(1, min(_ROWS_OF_ANY_WAVE, int(memory_bytes / (_CAUTION * row_bytes))))


def policies_at_a_time(episodes: int, most_rows: int = MOST_ROWS) -> int:
    """Return how many policies are one wave at most."""
    return max(1, most_rows // episodes)


def waves(policies: int, episodes: int, most_rows: int = MOST_ROWS) -> list[tuple[int, ...]]:
    """Split policies 0..P into waves of equal size, at most `most_rows` episodes at a time.

    The last wave repeats its last policy where it is short.

    >>> waves(5, 20)
    [(0, 1), (2, 3), (4, 4)]
    """
    count = math.ceil(policies / policies_at_a_time(episodes, most_rows))
    size = math.ceil(policies / count)
    return [
        tuple(min(first + i, policies - 1) for i in range(size))
        for first in range(0, policies, size)
    ]
