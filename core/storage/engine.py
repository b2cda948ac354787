"""Connections: how each of the two databases is opened, read and written.

A write is a function of a connection that may be called again: when the database was busy, the
whole transaction is repeated, a bounded number of times.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from json import dumps, loads
from pathlib import Path
from typing import Any, TypeVar

from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.errors import ConfigurationError, StorageFailed
from core.storage import postgres

T = TypeVar("T")
Work = Callable[[Connection], T]

BUSY_SECONDS = 5.0
ATTEMPTS = 3
PAUSE_SECONDS = 0.05
POOL_SIZE = 10
POOL_SECONDS = 10.0
POOL_OVERFLOW = 40  # the web server's threads and a Propose step's slots come on top of each other

_RETRIED_STATES = frozenset({"40001", "40P01", "55P03"})  # serialization, deadlock, lock timeout
_NOT_THERE = frozenset({"42P01", "42703"})  # a table, a column
_NOT_ALLOWED = "42501"
_READ_ONLY = "25006"  # a standby, or a server that was told so
CHECK_HINT = "Check that it can be reached, and that REWARDSMITH_DATABASE_URL names it."
MIGRATE_HINT = "Run `rewardsmith db upgrade`."
USER = "user of the database"  # where it says what a user may not do
USER_HINT = "See `Users of the database` in docs/operations.md, and `rewardsmith db roles`."


def open_engine(database_url: str, *, busy_seconds: float = BUSY_SECONDS) -> Engine:
    """Return an engine for `sqlite:///file` or `postgresql://…`; nothing is connected yet.

    Args:
        database_url: where the database is.
        busy_seconds: how long SQLite waits for another writer before an attempt has failed.

    Raises:
        ConfigurationError: the URL is of another kind, or names a database in memory.
    """
    url = _read_url(database_url)
    to_json = partial(dumps, allow_nan=False, ensure_ascii=False)
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, to_json, busy_seconds)
    engine = create_engine(
        url,
        connect_args=postgres.ARGUMENTS,
        pool_pre_ping=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=POOL_SECONDS,
        json_serializer=to_json,
        json_deserializer=_read_json,
        hide_parameters=True,  # whatever breaks is logged, and what people and models said is not
    )
    event.listen(engine, "do_connect", postgres.connect)
    return engine


def _read_json(text: str | bytes) -> Any:
    """Read stored JSON.  The quick reader ends 200 levels deep; an endpoint's answer may go on.

    Raises:
        ValueError: it is none.
    """
    try:
        return from_json(text)
    except ValueError:
        return loads(text)


def _read_url(database_url: str) -> URL:
    expected = "`sqlite:///path/to/file.db` or `postgresql://user@host/database`"
    try:
        url = make_url(database_url.replace("postgres://", "postgresql://", 1))
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):  # the last for a port
        raise ConfigurationError(
            "a text that is no database URL", expected=expected, where="database_url"
        ) from None
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigurationError(f"`{backend}`", expected=expected, where="database_url")
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(
            "a database in memory",
            expected=expected,
            where="database_url",
            hint="Workers and server are several processes and meet in the file.",
        )
    return url


# --- SQLite -----------------------------------------------------------------------------------


def _open_sqlite(url: URL, to_json: Callable[[Any], str], busy_seconds: float) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": busy_seconds, "check_same_thread": False},
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=POOL_SECONDS,
        json_serializer=to_json,
        json_deserializer=_read_json,
        hide_parameters=True,  # whatever breaks is logged, and what people and models said is not
    )
    event.listen(engine, "do_connect", _make_folder)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_folder(_dialect: object, _record: object, args: list[Any], _kw: dict[str, Any]) -> None:
    Path(args[0]).parent.mkdir(parents=True, exist_ok=True)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin_sqlite` does
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # an accepted job survives a power cut
    _use_write_ahead_log(connection)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # The busy timeout does not cover this switch when two processes meet on a new file.
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: one that upgrades from reading can fail at any statement.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


# --- transactions -----------------------------------------------------------------------------


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection on which everything is read as of one moment.

    Raises:
        StorageFailed: the database cannot be reached, or was not migrated.
    """
    with named_errors(), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def glancing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection for one statement, without the two that begin and end a transaction.

    Raises:
        StorageFailed: as `reading`.
    """
    if engine.dialect.name != "postgresql":
        with reading(engine) as connection:
            yield connection
        return
    with named_errors(), engine.connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def writing(engine: Engine, work: Work[T]) -> T:
    """Carry out one transaction and return what it gave; repeat it while the database is busy.

    Raises:
        StorageFailed: the database cannot be reached, stayed busy, or was not migrated.
    """
    with named_errors():
        for attempt in range(ATTEMPTS - 1):
            try:
                return _write(engine, work)
            except OperationalError as error:
                if not is_busy(error):
                    raise
            time.sleep(PAUSE_SECONDS * 2**attempt)
        return _write(engine, work)


def _write(engine: Engine, work: Work[T]) -> T:
    with engine.connect() as connection:
        connection.execution_options(writes=True)
        with connection.begin():
            return work(connection)


def takes_writes(connection: Connection) -> bool:
    """Tell whether the transaction of a connection may write."""
    if connection.dialect.name != "postgresql":
        return True  # who got the lock of a file may write into it
    setting = connection.exec_driver_sql("SHOW transaction_read_only").scalar_one()
    return bool(setting == "off")


def is_busy(error: DBAPIError) -> bool:
    """Tell whether the same transaction may succeed when it is tried again."""
    if getattr(error.orig, "sqlstate", None) in _RETRIED_STATES:
        return True
    return isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn what a driver raises for a broken database into StorageFailed; bugs stay as they are."""
    try:
        yield
    except PoolTimeout as error:
        raise StorageFailed(
            "All connections to the database are in use.", hint="Try again in a moment."
        ) from error
    except DBAPIError as error:
        failed = _broken(error)
        if failed is None:
            _shorten(error)
            raise
        raise failed from error
    except OSError as error:  # the folder of a SQLite file cannot be made
        raise StorageFailed(f"{error}", where="database", hint=CHECK_HINT) from error


def _broken(error: DBAPIError) -> StorageFailed | None:
    """Return what is wrong with the database, or with what was told of it; None if it is neither."""
    state = getattr(error.orig, "sqlstate", None)
    if state in _NOT_THERE:
        return StorageFailed("The database is not migrated.", hint=MIGRATE_HINT)
    if state == _READ_ONLY:
        return StorageFailed(
            "The database takes no writes.", hint="Make the one that does the one that is named."
        )
    if state == _NOT_ALLOWED:
        return StorageFailed(_first_line(error), where=USER, hint=USER_HINT)
    # Without a statement it was the address: an option of the connection that there is not, say.
    at_the_door = isinstance(error, ProgrammingError) and error.statement is None
    no_database = type(error) is DatabaseError  # a file with something else in it, or a damaged one
    if at_the_door or no_database or isinstance(error, OperationalError | InterfaceError):
        return _storage_failed(error)
    return None


def _shorten(error: DBAPIError) -> None:
    """Leave the first line of what a driver says: those after it repeat the row that was refused."""
    error.args = tuple(str(words).partition("\n")[0] for words in error.args)
    if error.orig is not None:
        error.orig.args = (_first_line(error),)


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else "no reason given"


def _storage_failed(error: DBAPIError) -> StorageFailed:
    text = _first_line(error)
    if "no such table" in text or "no such column" in text:
        return StorageFailed("The database is not migrated.", hint=MIGRATE_HINT)
    if "full" in text:
        return StorageFailed(f"The disk of the database is full: {text}", hint="Make room.")
    if is_busy(error):
        return StorageFailed(f"The database stayed busy: {text}", hint="Try again in a moment.")
    return StorageFailed(f"The database cannot be used: {text}", hint=CHECK_HINT)
