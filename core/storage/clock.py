"""One clock for all workers: the database's.

Leases are written and compared with `now()` alone, so a worker whose own clock is wrong neither
loses a claim too early nor keeps one too long.  Times leave the store as aware datetimes in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Double, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """A moment: `timestamptz` on PostgreSQL, sortable text in UTC on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand SQLite the naive UTC form in which it stores text."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class DatabaseTime(FunctionElement[datetime]):
    """The database's clock, some seconds from now; `now` makes it."""

    name = "database_time"
    type = UtcTime()
    inherit_cache = True


def now(offset_seconds: float = 0.0) -> DatabaseTime:
    """Return the SQL expression for the present moment plus an offset in seconds."""
    return DatabaseTime(literal(offset_seconds, Double))


# clock_timestamp, not now(): a transaction that waited for a lock must see the time after the wait.
@compiles(DatabaseTime, "postgresql")
def _on_postgresql(element: DatabaseTime, compiler: SQLCompiler, **kw: Any) -> str:
    offset = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => {offset}))"


# Milliseconds are what SQLite's clock has; the zeros make the text sort with stored microseconds.
@compiles(DatabaseTime, "sqlite")
def _on_sqlite(element: DatabaseTime, compiler: SQLCompiler, **kw: Any) -> str:
    offset = compiler.process(element.clauses, **kw)
    shift = f"printf('%+.3f seconds', {offset})"
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {shift}) || '000')"
