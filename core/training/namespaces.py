"""What a generated program reads: fields and parameters by name, read-only, with helpful errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from core.fields import Column, Floats, Layout
from core.records.programs import Program

Maker: TypeAlias = Callable[[Floats], Any]


def policy_columns(layout: Layout) -> tuple[Column, ...]:
    """Return the fields that `features` may use: observed, and visible to the policy."""
    return tuple(
        c for c in layout.columns if c.source.kind == "obs" and "policy" in c.field.visible
    )


def describe_row(layout: Layout, row: Floats, most: int = 6) -> str:
    """Name the first few fields of one row, three significant digits: "x = 0.5, v = [1, 2]"."""
    known = [c for c in layout.columns if c.stop <= len(row) and c.field.visible != ("metric",)]
    return ", ".join(f"{c.field.name} = {_digits(row, c)}" for c in known[:most]) or "no fields"


def _digits(row: Floats, column: Column) -> str:
    values = ", ".join(f"{float(v):.3g}" for v in row[column.start : column.stop][:4])
    return values if column.scalar else f"[{values}]"


def reward_columns(layout: Layout, limit: int) -> tuple[Column, ...]:
    """Return the fields below column `limit` that `reward` may use, those of `features` included."""
    seen = set(policy_columns(layout))
    return tuple(
        c for c in layout.columns if c.stop <= limit and ("reward" in c.field.visible or c in seen)
    )


def maker(layout: Layout, columns: tuple[Column, ...], title: str) -> Maker:
    """Return a function that lays named views over a block."""
    names = tuple(c.field.name for c in columns)
    hidden = {c.field.name: _why_hidden(c, layout) for c in layout.columns if c not in columns}
    kind = _namespace(title, names, hidden)
    setters = tuple(
        (kind.__dict__[c.field.name].__set__, (slice(None), _place(c))) for c in columns
    )

    def make(block: Floats) -> Any:
        fresh: Any = object.__new__(kind)
        for put, key in setters:
            put(fresh, block[key])
        return fresh

    return make


def _why_hidden(column: Column, layout: Layout) -> str:
    if "reward" in column.field.visible and column.stop > layout.state_size:
        return "is known of next_obs alone"
    return "is not visible there"


def _place(column: Column) -> int | slice:
    return column.start if column.scalar else slice(column.start, column.stop)


def _namespace(title: str, names: tuple[str, ...], hidden: Mapping[str, str]) -> type:
    """Make a class with one read-only slot per name and helpful errors for every other name."""

    def missing(_self: object, name: str) -> Any:
        why = hidden.get(name, "does not exist")
        raise AttributeError(f"{title}.{name} {why}; available: {', '.join(names) or 'nothing'}")

    def unwritable(_self: object, name: str, _value: object) -> None:
        raise AttributeError(f"{title}.{name} cannot be assigned; inputs are read-only")

    body = {"__slots__": names, "__getattr__": missing, "__setattr__": unwritable}
    return type("fields", (), body)


def parameters(program: Program) -> Any:
    """Return `params`: the numbers of PARAMS by name, as the record has them."""
    kind = _namespace("params", tuple(program.params), {})
    values: Any = object.__new__(kind)
    for name, number in program.params.items():
        kind.__dict__[name].__set__(values, float(number))
    return values
