"""What scorer, actor and their parent must agree upon: waves of policies, and patience."""

from __future__ import annotations

import math

MOST_ROWS = 48  # a MuJoCo environment reserves up to some 25 MiB of address space
FRAME_SECONDS = 5.0  # for one exchange of observations and actions


def waves(policies: int, episodes: int) -> list[tuple[int, ...]]:
    """Split policies 0..P into waves of equal size, at most MOST_ROWS episodes at a time.

    The last wave repeats its last policy where it is short.

    >>> waves(5, 20)
    [(0, 1), (2, 3), (4, 4)]
    """
    count = math.ceil(policies / max(1, MOST_ROWS // episodes))
    size = math.ceil(policies / count)
    return [
        tuple(min(first + i, policies - 1) for i in range(size))
        for first in range(0, policies, size)
    ]
