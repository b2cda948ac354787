"""What a batch of rows needs to know of a system: how it starts, moves, and is observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from core.fields import Floats
from core.records.kinds import Json

States: TypeAlias = npt.NDArray[Any]  # [B, S], float64 unless the original keeps float32
Constants: TypeAlias = Mapping[str, Any]  # name -> number, or [B] where rows differ
Advance: TypeAlias = Callable[
    [States, npt.NDArray[Any]], tuple[States, npt.NDArray[np.float64], npt.NDArray[np.bool_]]
]


@dataclass(frozen=True, slots=True)
class Dynamics:
    """A system whose rows move together.

    Attributes:
        state_size:  S, length of the inner state.
        low, high:   bounds of each observed number, None where it has none; [D].
        action:      as in `Preflight.action`.
        limit:       episode length of the registered environment.
        draw:        random generator -> first state [S], drawn as gymnasium draws it.
        observe:     states [B, S] -> observations [B, D] float32.
        constants:   what the equations take for granted, name -> value in the original.
        advancing:   constants -> a function: states, actions -> next states, native reward [B],
                     terminated [B].
        dtype:       number type of the inner state.
    """

    state_size: int
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    action: Json
    limit: int
    draw: Callable[[np.random.Generator], npt.NDArray[Any]]
    observe: Callable[[States], Floats]
    constants: Mapping[str, float]
    advancing: Callable[[Constants], Advance]
    dtype: type[np.float32] | type[np.float64] = np.float64


def as_observation(states: States) -> Floats:
    """Observe the whole inner state, in single precision."""
    return states.astype(np.float32)
