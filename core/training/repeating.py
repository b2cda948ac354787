"""The repeat check: the same policies on the same seeds must live the same steps again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.envs.batch import Actions
from core.fields import Floats
from core.training.episodes import Choose

REPEATED_STEPS = 32
"""What is not the same twice shows itself at once, and whole episodes would double the measuring."""


@dataclass(slots=True)
class Tape:
    """The first steps of all rows: what was observed, and what was done."""

    steps: list[tuple[Floats, Actions]] = field(default_factory=list)

    def of(self, choose: Choose) -> Choose:
        """Return the same policy, recorded."""

        def recorded(state: Floats) -> Actions:
            action = choose(state)
            if len(self.steps) < REPEATED_STEPS:
                self.steps.append((np.array(state), np.array(action)))
            return action

        return recorded


def rows_that_differ(first: Tape, again: Tape, lengths: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return, per row, whether its episode went another way while it lasted.

    Args:
        first:   tape of the rows.
        again:   another one of the same rows.
        lengths: [rows] steps of each row's first episode.
    """
    lived = np.array(lengths)
    differ = lived < 0
    for t, (observed, done) in enumerate(first.steps):
        alive = lived > t
        if t >= len(again.steps):
            return np.asarray(differ | alive)
        differ |= alive & (_unlike(observed, again.steps[t][0]) | _unlike(done, again.steps[t][1]))
    return differ


def _unlike(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Compare rows; a field that is NaN both times is the same."""
    same = (one == other) | ((one != one) & (other != other))
    return np.asarray(~same.reshape(len(one), -1).all(axis=1), np.bool_)
