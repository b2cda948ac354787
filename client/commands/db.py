"""`rewardsmith db`: the database's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.console import JsonFlag, Screen

app = typer.Typer(help="Look after the database.", no_args_is_help=True)


@app.callback()
def db() -> None:
    """Look after the database."""


@app.command("upgrade")
def upgrade(json_output: JsonFlag = False) -> None:
    """Make the tables, or bring them up to date; does nothing where they are."""
    from core.settings import read_settings
    from migrations import upgrade as migrate

    migrate(read_settings().database_url)
    screen = Screen(json_output)
    screen.emit({"database": "up to date"})
    screen.say("The database is up to date.")


@app.command("roles")
def roles(json_output: JsonFlag = False) -> None:
    """Make separate PostgreSQL roles for the web server and the workers; safe to repeat."""
    from core.settings import read_settings
    from migrations.roles import API, WORKER, make_roles

    make_roles(read_settings().database_url)
    screen = Screen(json_output)
    screen.emit({"roles": [API, WORKER]})
    screen.say(f"The roles {API} and {WORKER} are there; give each a user that logs in:")
    for role, user in ((API, "rewardsmith_web"), (WORKER, "rewardsmith_work")):
        screen.say(f"  CREATE ROLE {user} LOGIN PASSWORD '…' IN ROLE {role};")


@app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(help="Where the copy goes; it must not be there yet.")],
    json_output: JsonFlag = False,
) -> None:
    """Copy a SQLite database while it is in use; for PostgreSQL there is pg_dump."""
    from core.settings import read_settings
    from core.storage import copy_sqlite

    copy_sqlite(read_settings().database_url, file)
    screen = Screen(json_output)
    screen.emit({"backup": str(file)})
    screen.say(
        f"Copied to {file}. Artifacts and the file `secret` belong to it; see docs/operations.md."
    )
