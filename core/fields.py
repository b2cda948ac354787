"""Where a field's value comes from, and how fields are laid out as columns of a state block.

A *block* is one float32 matrix [B, C] that holds everything known of a state: first the flat
observation that the policy sees, then simulator fields, then what only the next state has (info values
and `terminated`).  Programs, fitness and screens read it by field name; nobody counts columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from core.records.kinds import Visibility
from core.records.task import Field

Floats: TypeAlias = npt.NDArray[np.float32]
SourceKind: TypeAlias = Literal["obs", "info", "sim", "terminated"]

_SOURCE = re.compile(
    r"^(?P<kind>obs|info|sim)(?:\.(?P<key>[A-Za-z_]\w*))?(?:\[(?P<start>\d+)(?::(?P<stop>\d+))?\])?$"
)


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed field source.

    `stop` is None when one number is meant (shape [B]); otherwise columns start..stop ([B, n]).
    `key` is the observation's dictionary key, the info key, or the simulator array's name.
    """

    kind: SourceKind
    key: str | None = None
    start: int = 0
    stop: int | None = None

    @property
    def size(self) -> int:
        """Return how many columns the source has."""
        return 1 if self.stop is None else self.stop - self.start


def read_source(field: Field) -> Source:
    """Parse `field.source`.

    >>> read_source(Field("x", "obs[3]"))
    Source(kind='obs', key=None, start=3, stop=None)
    >>> read_source(Field("v", "sim.qvel[0:3]")).size
    3

    Raises:
        InvalidInput: the source has none of the known forms.
    """
    if field.source == "terminated":
        return Source("terminated")
    match = _SOURCE.match(field.source)
    if match is None or (match["kind"] in ("info", "sim") and not match["key"]):
        raise _unreadable(field)
    if match["kind"] in ("obs", "sim") and match["start"] is None:
        raise _unreadable(field)
    start = int(match["start"] or 0)
    stop = int(match["stop"]) if match["stop"] is not None else None
    if stop is not None and stop <= start:
        raise _unreadable(field)
    kind: SourceKind = match["kind"]  # type: ignore[assignment]
    return Source(kind, match["key"], start, stop)


def _unreadable(field: Field) -> InvalidInput:
    return InvalidInput(
        repr(field.source),
        expected="obs[i], obs[i:j], obs.key[i], info.key, sim.name[i], sim.name[i:j] or terminated",
        where=f"source of field {field.name!r}",
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A field's place in a block: `block[:, start:stop]`, squeezed to [B] when it is one number."""

    field: Field
    source: Source
    start: int
    stop: int

    @property
    def scalar(self) -> bool:
        """Tell whether the field is one number per row."""
        return self.source.stop is None


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a block.

    Attributes:
        observation_size: D, columns 0..D are the policy's flat observation.
        state_size:       D + simulator columns; what a present state has.
        size:             C, with info values and `terminated`; what a next state has.
    """

    columns: tuple[Column, ...]
    observation_size: int
    state_size: int
    size: int

    def names(self, who: Visibility, *, next_state: bool = True) -> tuple[str, ...]:
        """Return the names of the fields that `who` may see; the metric sees all of them."""
        limit = self.size if next_state else self.state_size
        return tuple(
            c.field.name
            for c in self.columns
            if c.stop <= limit and (who == "metric" or who in c.field.visible)
        )

    def values(self, block: Floats, names: Iterable[str]) -> dict[str, Floats]:
        """Return views of the block by field name, [B] or [B, n]."""
        wanted = set(names)
        return {
            c.field.name: block[:, c.start] if c.scalar else block[:, c.start : c.stop]
            for c in self.columns
            if c.field.name in wanted
        }


def lay_out(
    fields: Sequence[Field],
    observation_size: int,
    key_offsets: dict[str, int] | None = None,
) -> Layout:
    """Give every field its columns.

    Args:
        fields:           the task's fields.
        observation_size: D, length of the flat observation.
        key_offsets:      for dictionary observations, key -> offset in the flat vector.

    Raises:
        InvalidInput: a source cannot be read, or points outside the observation.
    """
    sources = [(field, read_source(field)) for field in fields]
    columns: list[Column] = []
    for field, source in sources:
        if source.kind == "obs":
            columns.append(_observed(field, source, observation_size, key_offsets or {}))
    end = observation_size
    for field, source in sources:
        if source.kind == "sim":
            columns.append(Column(field, source, end, end + source.size))
            end += source.size
    state_size = end
    for field, source in sources:
        if source.kind in ("info", "terminated"):
            columns.append(Column(field, source, end, end + source.size))
            end += source.size
    return Layout(tuple(columns), observation_size, state_size, end)


def _observed(field: Field, source: Source, size: int, offsets: dict[str, int]) -> Column:
    if source.key is not None and source.key not in offsets:
        raise InvalidInput(
            f"key {source.key!r}",
            expected=f"one of {sorted(offsets)}" if offsets else "a source without a key",
            where=f"source of field {field.name!r}",
        )
    start = offsets.get(source.key or "", 0) + source.start
    if start + source.size > size:
        raise InvalidInput(
            field.source,
            expected=f"an index below the observation's length {size}",
            where=f"source of field {field.name!r}",
        )
    return Column(field, source, start, start + source.size)
