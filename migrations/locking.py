"""Who changes the schema or the roles waits for whoever is at it already."""

from __future__ import annotations

from sqlalchemy import Connection, text

LOCK = 0x5E3A_12D5  # any number, the same for every process that migrates
PATIENCE_SECONDS = 120.0  # for another process on the same SQLite file, however slow its machine


def one_at_a_time(connection: Connection) -> None:
    """Wait, in a transaction that writes, until no other process migrates; its end lets the next one.

    SQLite has done so at the transaction's begin.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
