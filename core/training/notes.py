"""What the members of an off-policy pack say of themselves, gathered into a point now and then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.records.measured import Curve
from core.training.curves import CurveKeeper
from core.training.designs import Earned
from core.training.living import Lived
from core.training.stacked import Said

STEPS_PER_POINT = 500


class Notes:
    """Curves of P members: means of what turns were worth, and what the last update said."""

    def __init__(self, curves: CurveKeeper) -> None:
        self._curves = curves
        self._earned: list[dict[str, list[float]]] = [{} for _ in range(curves.members)]
        self._said: Said = {}

    def watch(self, lived: Lived, earned: Earned, living: Sequence[int]) -> None:
        """Take down what was lived in a turn and what it was worth, rewards [1, P, R]."""
        self._curves.watch(lived.native, lived.ended)
        for member in living:
            said = {f"component.{n}": v for n, v in earned.components[member].items()}
            said["training_reward"] = float(earned.rewards[0, member].mean())
            for name, value in said.items():
                self._earned[member].setdefault(name, []).append(value)

    def learned(self, said: Said) -> None:
        """Take down what an update said; only the last one counts."""
        self._said = said

    def add_points(self, living: Sequence[int], steps: int) -> None:
        """Add a point to the curves of those who lived something since their last one."""
        for member in living:
            if not self._earned[member]:
                continue
            said: Mapping[str, float] = {
                **{name: float(np.mean(values)) for name, values in self._earned[member].items()},
                **{name: float(values[member]) for name, values in self._said.items()},
            }
            self._curves.add(member, steps, said)
            self._earned[member] = {}

    def curve(self, member: int) -> Curve:
        """Return a member's curve."""
        return self._curves.curve(member)
