"""Separate PostgreSQL roles for the web server, the workers and whoever migrates.

    rewardsmith_api      reads rows of the owner that it names, and writes what people may write:
                         jobs, their wishes, remarks and programs; never a measurement
    rewardsmith_worker   reads and writes all rows of jobs, and sees no key
    the tables' owner    migrates, makes keys, and is held back by nothing

The two are groups without login: what logs in is a member of one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import Connection, text

from core.errors import ConfigurationError
from core.storage.engine import open_engine, writing
from core.storage.tables import metadata
from migrations.locking import one_at_a_time

API, WORKER = "rewardsmith_api", "rewardsmith_worker"
APART = frozenset({"keys", "audit", "discarded", "endpoints", "workers"})
OF_JOBS = tuple(sorted(set(metadata.tables) - APART))
# What the web server writes; everything else that it answers was written by workers.
INSERTED = ("jobs", "events", "deliveries", "claims", "given", "remarks", "imports")
UPDATED = ("jobs", "claims")
DELETED = ("jobs", "runs")  # `runs`: broken ones of the native reward, before a retry


def make_roles(database_url: str) -> None:
    """Make both roles, if they are not there, and let each do what it must; again after an upgrade.

    Raises:
        ConfigurationError: the database is not PostgreSQL.
        StorageFailed: it cannot be used.
    """
    engine = open_engine(database_url)
    try:
        if engine.dialect.name != "postgresql":
            raise ConfigurationError(
                "SQLite",
                expected="PostgreSQL",
                where="database_url",
                hint="SQLite has no roles: whoever may read the file may read all of it.",
            )
        writing(engine, _make)
    finally:
        engine.dispose()


def renew_roles(database_url: str) -> None:
    """Let roles that are there already use tables that came with an upgrade."""
    engine = open_engine(database_url)
    try:
        if engine.dialect.name == "postgresql":
            writing(engine, _renew)
    finally:
        engine.dispose()


def _renew(connection: Connection) -> None:
    one_at_a_time(connection)  # PostgreSQL fails where two give the same rights at once
    if _there(connection):
        _allow(connection)


def _there(connection: Connection) -> bool:
    query = text("SELECT count(*) FROM pg_roles WHERE rolname IN (:api, :worker)")
    return bool(connection.execute(query, {"api": API, "worker": WORKER}).scalar_one() == 2)


def _make(connection: Connection) -> None:
    one_at_a_time(connection)
    for role in (API, WORKER):
        known = text("SELECT 1 FROM pg_roles WHERE rolname = :role")
        if connection.execute(known, {"role": role}).first() is None:
            connection.execute(text(f"CREATE ROLE {role} NOLOGIN"))
    _allow(connection)


def _allow(connection: Connection) -> None:
    query = text(
        "SELECT tablename FROM pg_policies WHERE schemaname = 'public' AND policyname = 'workers'"
    )
    for statement in statements(set(connection.execute(query).scalars())):
        connection.execute(text(statement))


def statements(open_to_workers: Collection[str]) -> Iterator[str]:
    """Yield the SQL that gives the two roles their rights; carrying it out twice changes nothing.

    Args:
        open_to_workers: tables that have the workers' policy.  It is not made anew: that would wait for
            everybody who reads the table, a backup say, and keep all others waiting meanwhile.
    """
    jobs = ", ".join(OF_JOBS)
    yield f"GRANT USAGE ON SCHEMA public TO {API}, {WORKER}"
    yield f"GRANT SELECT ON alembic_version, standing, line TO {API}, {WORKER}"
    yield f"GRANT SELECT ON {jobs} TO {API}"
    yield f"GRANT INSERT ON {', '.join(INSERTED)} TO {API}"
    yield f"GRANT UPDATE ON {', '.join(UPDATED)} TO {API}"
    yield f"GRANT DELETE ON {', '.join(DELETED)} TO {API}"
    yield f"GRANT SELECT, UPDATE (last_used_at) ON keys TO {API}"
    yield f"GRANT INSERT ON audit TO {API}"
    yield f"GRANT SELECT, INSERT, UPDATE (created_at) ON discarded TO {API}"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {jobs}, discarded TO {WORKER}"
    yield f"GRANT SELECT, INSERT, UPDATE ON endpoints TO {WORKER}"
    yield f"GRANT SELECT ON workers TO {API}"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO {WORKER}"
    for table in sorted(set(OF_JOBS).difference(open_to_workers)):
        yield f"CREATE POLICY workers ON {table} TO {WORKER} USING (true) WITH CHECK (true)"
