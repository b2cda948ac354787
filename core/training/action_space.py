"""The action space of a task, as numbers rather than as the JSON of `Preflight.action`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.fields import Floats


@dataclass(frozen=True, slots=True)
class ActionSpace:
    """What a policy may do.

    Attributes:
        discrete: one choice out of `size`, counted from 0; else `size` numbers within bounds.
        size:     n, or A.
        low, high: [A]; empty when discrete.
    """

    discrete: bool
    size: int
    low: Floats
    high: Floats

    @property
    def columns(self) -> int:
        """Return how many floats one action takes in a frame."""
        return 1 if self.discrete else self.size


def read_action_space(action: Mapping[str, Any]) -> ActionSpace:
    """Read `Preflight.action`.

    >>> read_action_space({"kind": "discrete", "n": 3}).columns
    1
    """
    discrete = action["kind"] == "discrete"
    return ActionSpace(
        discrete,
        int(action["n"] if discrete else action["size"]),
        np.asarray(action.get("low", ()), np.float32),
        np.asarray(action.get("high", ()), np.float32),
    )
