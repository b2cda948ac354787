"""Stored curves, thinned for charts without ever becoming a million Python numbers."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from core.downsampling import thinned
from core.storage.ids import RunKey, no_such, run_id
from core.storage.series import STEPS, VALUES, damaged
from core.storage.stored import Series
from core.storage.tables import curves, runs

Row: TypeAlias = Mapping[str, Any]

_TYPES = {STEPS: "<i8", VALUES: "<f8"}


def series_of(
    connection: Connection, key: RunKey, names: Collection[str] | None, most: int
) -> tuple[tuple[str, ...], tuple[Series, ...]]:
    """Return the names of all series of a run, and those that were asked for, thinned.

    Args:
        connection: of a transaction.
        key:        of the run.
        names:      that are wanted; None for all.  A name that there is not is left out.
        most:       points of a series at most.

    Raises:
        NotFound: no such run.
        StorageFailed: a chunk is damaged.
    """
    here = [curves.c[name] == part for name, part in zip(key._fields, key, strict=True)]
    known = select(curves.c.position, curves.c.series).where(*here, curves.c.chunk == 0)
    rows = connection.execute(known.order_by(curves.c.position)).all()
    if not rows:
        _check_run(connection, key)
        return (), ()
    every = {row.series: row.position for row in rows if row.position > 0}
    wanted = {n: place for n, place in every.items() if names is None or n in names}
    chunks = select(curves.c.position, curves.c.series, curves.c.data)
    chunks = chunks.where(*here, curves.c.position.in_([0, *wanted.values()]))
    found = connection.execute(chunks.order_by(curves.c.position, curves.c.chunk)).mappings().all()
    return tuple(every), _thinned([dict(row) for row in found], wanted, most)


def _check_run(connection: Connection, key: RunKey) -> None:
    here = [runs.c[name] == part for name, part in zip(key._fields, key, strict=True)]
    if connection.execute(select(runs.c.seed).where(*here)).first() is None:
        raise no_such("run", run_id(key))


def _thinned(rows: Sequence[Row], wanted: Mapping[str, int], most: int) -> tuple[Series, ...]:
    parts: dict[int, list[npt.NDArray[Any]]] = defaultdict(list)
    for row in rows:
        parts[row["position"]].append(_numbers(row))
    steps = np.concatenate(parts[0])
    return tuple(
        _one(name, steps, np.concatenate(parts[place]), most) for name, place in wanted.items()
    )


def _one(
    name: str, steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64], most: int
) -> Series:
    shown = thinned(values, most)
    return Series(name, len(values), tuple(steps[shown].tolist()), tuple(values[shown].tolist()))


def _numbers(row: Row) -> npt.NDArray[Any]:
    kind = STEPS if row["position"] == 0 else VALUES
    try:
        return np.frombuffer(zlib.decompress(row["data"]), _TYPES[kind])
    except (zlib.error, ValueError) as error:
        raise damaged(row["series"], error) from error
