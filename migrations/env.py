"""How Alembic runs the revisions: one transaction for all, one process at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, Engine

from core.storage.engine import open_engine
from core.storage.tables import metadata
from migrations.locking import PATIENCE_SECONDS, one_at_a_time


def migrate(engine: Engine) -> None:
    """Bring a database up to date."""
    with engine.connect() as connection:
        _prepare(connection)
        with connection.begin():
            one_at_a_time(connection)
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


def main() -> None:
    """Migrate the database that `migrations.configuration` names."""
    engine = open_engine(context.config.attributes["database_url"], busy_seconds=PATIENCE_SECONDS)
    try:
        migrate(engine)
    finally:
        engine.dispose()


main()
