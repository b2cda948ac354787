"""What is asked of every array before its address goes to C++: type, shape, layout, range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

    from core.training.networks import Shapes

Numbers: TypeAlias = "npt.NDArray[Any] | Tensor"


def held(
    name: str,
    given: Numbers,
    kind: type[np.generic],
    shape: tuple[int, ...],
    *,
    written: bool = False,
) -> npt.NDArray[Any]:
    """Return the array, which is of this type and shape and lies in one piece."""
    array = given if isinstance(given, np.ndarray) else given.numpy()
    if array.dtype != kind or array.shape != shape:
        found = f"{array.dtype} {list(array.shape)}"
        raise unfit(name, found, f"{np.dtype(kind)} {list(shape)}")
    if not array.flags.c_contiguous:
        raise unfit(name, f"strides {array.strides}", "an array in one piece (C order)")
    if written and not array.flags.writeable:
        raise unfit(name, "a read-only array", "one that can be written")
    return array


def held_actions(
    given: Numbers, shapes: Shapes, column: tuple[int, int], *, written: bool = False
) -> npt.NDArray[Any]:
    """Return actions: int64 choices [P, B], or float32 vectors [P, B, A]."""
    if shapes.continuous:
        return held("actions", given, np.float32, (*column, shapes.actions), written=written)
    return held("actions", given, np.int64, column, written=written)


def held_choices(given: Numbers, shapes: Shapes, column: tuple[int, int]) -> npt.NDArray[Any]:
    """Return actions to learn from; choices are among those that there are."""
    array = held_actions(given, shapes, column)
    if not shapes.continuous and array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= shapes.actions:
            raise unfit("actions", f"choices {low} to {high}", f"0 to {shapes.actions - 1}")
    return array


def held_order(
    minibatches: Sequence[npt.NDArray[np.int64]], rows: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return all row numbers in a row, and where every minibatch begins and the last one ends."""
    sizes = [len(batch) for batch in minibatches]
    if not sizes or min(sizes) < 1:
        raise unfit("minibatches", f"sizes {sizes[:8]}", "at least one, none of them empty")
    order = np.ascontiguousarray(np.concatenate(minibatches), np.int64)
    if order.ndim != 1 or order.min() < 0 or order.max() >= rows:
        raise unfit("minibatches", f"rows {order.min()} to {order.max()}", f"0 to {rows - 1}")
    return order, np.cumsum([0, *sizes], dtype=np.int64)


def unfit(name: str, found: str, expected: str) -> ValueError:
    """Return what to raise: what was expected and what was found, of which array."""
    return ValueError(f"compiled kernel, {name}: expected {expected}, but found {found}")
