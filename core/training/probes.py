"""Edge rows of the probe set: what a random policy never meets, but a program must survive."""

from __future__ import annotations

import numpy as np

from core.fields import Floats, Layout
from core.training.runtime import Actions
from core.training.transitions import Transitions, joined

PROBE_ROWS = 4096
EDGE_ROWS = 256


def edge_transitions(real: Transitions, layout: Layout, rows: int = EDGE_ROWS) -> Transitions:
    """Make rows at the edges of what can be: zeros, bounds, one column at a bound, repeated rows.

    Unbounded columns go as far as the random policy took them.
    """
    low, high = _bounds(real.next, layout)
    middle = np.median(real.next, axis=0).astype(np.float32)
    edges = [np.zeros_like(low), low, high, middle]
    for column in range(layout.size):
        for bound in (low, high):
            edges.append(np.where(np.arange(layout.size) == column, bound, middle))
    most = rows * 3 // 4
    after = np.stack(edges)[np.linspace(0, len(edges) - 1, min(len(edges), most)).astype(int)]
    before = np.roll(after, 1, axis=0)[:, : layout.state_size]
    before[::2] = after[::2, : layout.state_size]
    made = Transitions(
        before.astype(np.float32),
        _edge_actions(real.action, len(after)),
        after.astype(np.float32),
        np.zeros(len(after), np.float32),
        np.arange(len(after)) % 2 == 1,
    )
    return joined([made, real.take(np.zeros(rows - len(after), np.int64))])


def _bounds(seen: Floats, layout: Layout) -> tuple[Floats, Floats]:
    low, high = seen.min(axis=0), seen.max(axis=0)
    for column in layout.columns:
        place = slice(column.start, column.stop)
        if column.field.low is not None:
            low[place] = column.field.low
        if column.field.high is not None:
            high[place] = column.field.high
    return low, high


def _edge_actions(seen: Actions, rows: int) -> Actions:
    extremes = np.stack([seen.min(axis=0), seen.max(axis=0), np.zeros_like(seen[0])])
    if seen.ndim == 1:
        extremes[2] = seen[0]
    chosen: Actions = extremes[np.arange(rows) % 3]
    return chosen
