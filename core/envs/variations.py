"""Model parameters that differ between the rows of a batch: the ground for robustness sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Variation:
    """A parameter of the simulated system, multiplied by another factor in every row.

    Attributes:
        name:    the parameter, in the words of the environment's implementation; a MuJoCo task knows
                 "mass", "friction", "gain", "damping", "gravity" and the fields of MjModel, classic
                 control the constants of its equations.
        factors: [rows], 1 leaves a row as it is.
    """

    name: str
    factors: tuple[float, ...]


def spread(name: str, low: float, high: float, rows: int) -> Variation:
    """Give the rows factors that are evenly spaced from `low` to `high`.

    >>> spread("mass", 0.5, 1.5, 3).factors
    (0.5, 1.0, 1.5)
    """
    return Variation(name, tuple(np.linspace(low, high, rows).tolist()))


def checked_factors(variation: Variation, rows: int) -> npt.NDArray[np.float64]:
    """Return the factors as an array [rows].

    Raises:
        InvalidInput: not one positive, finite factor per row.
    """
    factors = np.asarray(variation.factors, np.float64)
    if factors.shape != (rows,) or not (np.isfinite(factors) & (factors > 0)).all():
        raise InvalidInput(
            f"{factors.size} factors from {factors.min(initial=1):g} to {factors.max(initial=1):g}",
            expected=f"{rows} positive factors, one per row",
            where=f"variation of {variation.name!r}",
        )
    return factors


def unknown_parameter(variation: Variation, known: Sequence[str], where: str) -> InvalidInput:
    """Return the error for a name that the environment does not have."""
    return InvalidInput(
        repr(variation.name),
        expected=f"one of {', '.join(known)}" if known else "no variation: this one has none",
        where=f"variation of {where}",
    )
