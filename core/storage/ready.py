"""Statements as the wire takes them, for whoever asks PostgreSQL without SQLAlchemy's connection.

They are made from SQLAlchemy's own, so that tables and conditions are told in one place, and once each.
Every value travels as text, and PostgreSQL knows from the statement what it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql.compiler import SQLCompiler

_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # for its $1, $2; the driver is not needed to write a statement


class Ready:
    """One statement of SQLAlchemy's.

    Attributes:
        text: what PostgreSQL is to prepare.
    """

    def __init__(self, statement: Any, columns: Mapping[str, object] | None = None) -> None:
        """Make the text; an insert needs the names of the columns that it will be given."""
        names = None if columns is None else list(columns)
        compiled = statement.compile(dialect=_DIALECT, column_keys=names)
        assert isinstance(compiled, SQLCompiler)
        assert compiled.positiontup is not None
        self.text = compiled.string.encode()
        known = compiled.construct_params(_check=False)
        self._known = {k: v for k, v in known.items() if isinstance(v, bool | int | float | str)}
        self._order = compiled.positiontup

    def given(self, values: Mapping[str, object]) -> list[bytes | None]:
        """Return what the text asks for, in order: the statement's constants, and what is given."""
        known = self._known
        return [_text(values[n] if n in values else known[n]) for n in self._order]


def _text(value: object) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int | float):
        return repr(value).encode()
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
