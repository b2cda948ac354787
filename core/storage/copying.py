"""A copy of a SQLite database that is in use."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url

from core.errors import ConfigurationError, InvalidInput, StorageFailed


def copy_sqlite(database_url: str, target: Path) -> None:
    """Copy the database as it is at one moment, and make sure that the copy is sound.

    Raises:
        ConfigurationError: it is no SQLite database.
        InvalidInput: something is at the target already.
        StorageFailed: it cannot be read, or the copy cannot be written.
    """
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise ConfigurationError(
            "PostgreSQL",
            expected="SQLite",
            where="database_url",
            hint="Use pg_dump; docs/operations.md says how.",
        )
    if target.exists():
        raise InvalidInput(f"{target}, which is there", expected="a new file", where="backup")
    half = target.with_name(f"{target.name}.part")
    try:
        half.unlink(missing_ok=True)
        _copy(Path(url.database), half)
        os.replace(half, target)
    except (sqlite3.Error, OSError) as error:
        raise StorageFailed(f"{error}", where=f"backup to {target}") from error


def _copy(source: Path, target: Path) -> None:
    address = f"{source.absolute().as_uri()}?mode=rw"  # a source that is not there is not made
    with (
        closing(sqlite3.connect(address, uri=True, timeout=30.0)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)
        (found,) = copy.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {found}")
