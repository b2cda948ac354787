"""Curves as chunks of compressed numbers, because they are the one thing here that grows long."""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from core.errors import StorageFailed
from core.records.measured import Curve
from core.storage.clean import clean_float, clean_integer, clean_text

Chunk: TypeAlias = dict[str, Any]

POINTS_PER_CHUNK = 4096
STEPS, VALUES = "q", "d"  # int64 and float64, little-endian: a number comes back exactly as it went


def chunks(curve: Curve) -> Iterator[Chunk]:
    """Yield the rows of a curve without their keys: the steps first, then every series in order.

    Raises:
        InvalidInput: a number is not finite.
    """
    steps = [clean_integer(int(n), "curves.steps") for n in curve.steps]
    yield from _chunks(0, "steps", array(STEPS, steps))
    for position, (name, values) in enumerate(curve.series.items(), start=1):
        finite = [clean_float(float(value), f"curves.{name}") for value in values]
        yield from _chunks(position, clean_text(name), array(VALUES, finite))


def _chunks(position: int, name: str, numbers: array[Any]) -> Iterator[Chunk]:
    for chunk, first in enumerate(range(0, max(1, len(numbers)), POINTS_PER_CHUNK)):
        part = numbers[first : first + POINTS_PER_CHUNK]
        points, data = len(part), zlib.compress(_little_endian(part).tobytes())
        yield {
            "position": position,
            "chunk": chunk,
            "series": name,
            "points": points,
            "data": data,
        }


def curve_from(rows: Sequence[Mapping[str, Any]]) -> Curve | None:
    """Return the curve whose rows these are, ordered by (position, chunk); None without any.

    Raises:
        StorageFailed: a chunk is damaged.
    """
    if not rows:
        return None
    series: dict[str, list[float]] = {}
    for row in rows:
        if row["position"] > 0:
            series.setdefault(row["series"], []).extend(_numbers(VALUES, row))
    steps = _all(_numbers(STEPS, row) for row in rows if row["position"] == 0)
    return Curve(steps, {name: tuple(values) for name, values in series.items()})


def _all(parts: Iterable[array[Any]]) -> tuple[int, ...]:
    return tuple(number for part in parts for number in part)


def _numbers(kind: str, row: Mapping[str, Any]) -> array[Any]:
    numbers: array[Any] = array(kind)
    try:
        numbers.frombytes(zlib.decompress(row["data"]))
    except (zlib.error, ValueError) as error:
        raise damaged(row["series"], error) from error
    return _little_endian(numbers)


def damaged(name: str, error: Exception) -> StorageFailed:
    """Return the error for a chunk of a curve that cannot be read."""
    return StorageFailed(
        f"a damaged chunk of the curve `{name}`: {error}",
        hint="Restore the database from a backup.",
    )


def _little_endian(numbers: array[Any]) -> array[Any]:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
