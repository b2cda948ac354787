"""How Alembic runs the revisions: one transaction for all, one process at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, Engine, text

from core.storage.engine import open_engine
from core.storage.tables import metadata

LOCK = 0x5E3A_12D5  # any number, the same for every process that migrates


def migrate(engine: Engine) -> None:
    """Bring a database up to date."""
    with engine.connect() as connection:
        _prepare(connection)
        with connection.begin():
            _lock(connection)
            context.configure(
                connection=connection,
                target_metadata=metadata,
                render_as_batch=connection.dialect.name == "sqlite",
                transactional_ddl=True,
            )
            context.run_migrations()


def _prepare(connection: Connection) -> None:
    connection.execution_options(writes=True)
    if connection.dialect.name == "sqlite":
        # A batch change makes a table anew; with foreign keys on, dropping the old one would delete
        # every row that refers to it.  SQLite heeds this pragma outside of transactions only.
        raw = connection.connection.dbapi_connection
        assert raw is not None  # the connection was just opened
        raw.cursor().execute("PRAGMA foreign_keys = OFF")


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def main() -> None:
    """Migrate the database that `migrations.configuration` names."""
    engine = open_engine(context.config.attributes["database_url"])
    try:
        migrate(engine)
    finally:
        engine.dispose()


main()
