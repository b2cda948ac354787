"""The outside world, as a step may use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from core.ports import Designer, Laboratory, Tuner
from core.prices import Prices
from core.records.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The outside world, as a step may use it.

    Attributes:
        designer: makes the designer that a job asked for.
        laboratory: everything behind the sandbox's walls.
        held_out: (job id, iteration, rung, n) -> n secret seeds of evaluation episodes.
        tuner:    chooses other numbers for a program's PARAMS.
        prices:   of the models that designers ask.
        model:    that is asked where a job names none.
    """

    designer: Callable[[JobSpec], Designer]
    laboratory: Laboratory
    held_out: Callable[[str, int, int, int], tuple[int, ...]]
    tuner: Tuner
    prices: Prices = field(default_factory=Prices)
    model: str = ""
