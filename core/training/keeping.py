"""Which recorded episodes are kept beyond a report: few, whole, and as unlike as possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from core.sandbox import MIB
from core.training.transitions import Recording, Transitions, joined

MOST_KEPT_ROWS = 4_000
MOST_KEPT_BYTES = 4 * MIB


def kept_episodes(recording: Recording) -> Recording:
    """Return some of a recording's episodes, the most telling first, within MOST_KEPT_ROWS and _BYTES.

    The best by fitness comes first, then the worst, the median, and those halfway between.  Episodes
    are whole; if not even the best one fits, its beginning.
    """
    room = max(1, min(MOST_KEPT_ROWS, MOST_KEPT_BYTES // recording.transitions.row_bytes))
    ranked = np.argsort(recording.fitness, kind="stable")
    chosen: list[tuple[Transitions, float]] = []
    for episode in (int(ranked[place]) for place in _spread(len(ranked))):
        rows = recording.transitions.take(np.flatnonzero(recording.episode == episode))
        if sum(len(one) for one, _ in chosen) + len(rows) <= room:
            chosen.append((rows, float(recording.fitness[episode])))
    if not chosen:
        best = np.flatnonzero(recording.episode == ranked[-1])[:room]
        chosen = [(recording.transitions.take(best), float(recording.fitness[ranked[-1]]))]
    return put_together(chosen)


def put_together(episodes: Sequence[tuple[Transitions, float]]) -> Recording:
    """Make a recording of episodes with their fitness."""
    parts = [rows for rows, _ in episodes]
    return Recording(
        joined(parts),
        np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        np.array([fitness for _, fitness in episodes], np.float64),
    )


def _spread(count: int) -> Iterator[int]:
    """Yield all places of a ranking: last, first, middle, then halves of what lies between.

    >>> list(_spread(5))
    [4, 0, 2, 3, 1]
    """
    places = [count - 1, 0]
    parts = 2
    while parts < 2 * count:
        places += [(count - 1) * k // parts for k in range(parts - 1, 0, -2)]
        parts *= 2
    yield from dict.fromkeys([*places, *range(count)])
