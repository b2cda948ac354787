"""What is asked of one quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from core.designers.evolution.quantities import Quantity

Aim: TypeAlias = Literal["near", "least", "most", "more", "less", "calm", "move"]
TARGETED: frozenset[Aim] = frozenset({"near", "least", "most", "calm"})  # can be arrived at


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that the fitness or the text asks of one quantity.

    Attributes:
        aim:     near a target, at least or at most as much, more or less of it, calm (near zero), or
                 move (far from zero).
        target:  in the quantity's own unit; for the aims `near`, `least` and `most`.
        clarity: how plainly it is asked for; 3 is a number in the text, below 0.5 a mere possibility.
        why:     the words that it was read from.
        room:    how far from the target is still as wished; 0 where nothing says so.
        asked:   whether the fitness asks for it, not the text alone.
    """

    aim: Aim
    quantity: Quantity
    target: float
    clarity: float
    why: str
    room: float = 0.0
    asked: bool = False

    @property
    def way(self) -> float:
        """Return the distance from where the quantity usually is to the target, in its own unit."""
        gap = self.quantity.middle - self.target
        if self.aim == "least":
            return max(0.0, -gap)
        if self.aim == "most":
            return max(0.0, gap)
        return abs(gap)
