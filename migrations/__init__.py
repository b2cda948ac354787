"""The schema's history.  `upgrade` brings a database to this version's tables.

Works from the installed package: there is no `alembic.ini`.
"""

from __future__ import annotations

import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from core.errors import StorageFailed
from core.storage.engine import named_errors
from migrations.roles import renew_roles


def upgrade(database_url: str) -> None:
    """Make or change the tables of a database; does nothing where they are up to date.

    Several processes may call it at the same time.

    Raises:
        ConfigurationError: the URL is of an unknown kind.
        StorageFailed: the database cannot be reached, or was made by a newer version.
    """
    try:
        with named_errors():
            command.upgrade(configuration(database_url), "head")
        renew_roles(database_url)
    except CommandError as error:
        raise StorageFailed(
            f"{error}",
            where="database revision",
            hint="The database was made by a newer version of the program; use that one.",
        ) from error


def knows(revision: str) -> bool:
    """Tell whether a revision is one of this version's; "None" is a database before the first one."""
    script = ScriptDirectory.from_config(configuration(""))
    return revision == "None" or revision in {known.revision for known in script.walk_revisions()}


def configuration(database_url: str) -> Config:
    """Return Alembic's configuration for a database, as its own commands take it."""
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["database_url"] = database_url  # not an option: a password may hold a `%`
    return config
