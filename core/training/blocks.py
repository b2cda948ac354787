"""How blocks of rows are laid out: by time, as they are lived, or by member, as they are learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core.fields import Floats


def by_member(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn [T, P, N, ...] into [P, T·N, ...], contiguous, the oldest first."""
    swapped = np.ascontiguousarray(block.swapaxes(0, 1))
    return swapped.reshape(swapped.shape[0], -1, *swapped.shape[3:])


def by_time(values: Floats, steps: int) -> Floats:
    """Turn [P, T·N] into [T, P, N], contiguous."""
    return np.ascontiguousarray(values.reshape(len(values), steps, -1).swapaxes(0, 1))
