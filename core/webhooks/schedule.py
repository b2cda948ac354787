"""When a message that was not taken is tried again: soon, then ever more rarely, for a day."""

from __future__ import annotations

from collections.abc import Callable

PAUSES_SECONDS = (5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 21_600.0, 28_800.0)
JITTER = 0.2  # so that messages that failed together do not come back together


def pause_after(attempts: int, chance: Callable[[], float]) -> float | None:
    """Return how many seconds to wait after so many attempts; None if it is to be given up.

    Args:
        attempts: made so far, one or more.
        chance:   gives a number between 0 and 1, evenly.

    >>> pause_after(1, lambda: 0.5), pause_after(11, lambda: 0.5)
    (5.0, None)
    """
    if attempts > len(PAUSES_SECONDS):
        return None
    return PAUSES_SECONDS[attempts - 1] * (1.0 + JITTER * (2.0 * chance() - 1.0))
