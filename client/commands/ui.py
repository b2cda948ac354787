"""`rewardsmith ui`: look at any database, and change nothing in it."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.console import JsonFlag, Screen
from client.processes import exit_on_sigterm
from client.transport import address
from core.errors import InvalidInput

if TYPE_CHECKING:
    from core.settings import Settings


def ui(
    database: Annotated[
        str, typer.Argument(metavar="DB_URL", help="A database, or the file of a SQLite one.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 picks a free one.")] = 0,
    json_output: JsonFlag = False,
) -> None:
    """Show the jobs of all owners in a database, on this machine alone; no worker, and no change."""
    from client.server import listen, show_database

    exit_on_sigterm()
    screen = Screen(json_output)
    settings = settings_for(database)
    with closing(listen("127.0.0.1", port)) as bound:
        show_database(settings, bound, lambda: _announce(bound, screen))


def _announce(bound: socket.socket, screen: Screen) -> None:
    url = address(*bound.getsockname()[:2])
    screen.say(f"Look at {url}; end with Ctrl-C. Nothing can be changed from here.")
    screen.emit({"listening": url, "pid": os.getpid()})


def settings_for(database: str) -> Settings:
    """Return the settings that show a database: files are looked for beside that of a SQLite one.

    A folder that REWARDSMITH_ARTIFACTS_PATH names counts before that.

    Raises:
        InvalidInput: as `database_url`.
    """
    from core.settings import read_settings

    settings = read_settings(database_url=database_url(database))
    _, sqlite, file = settings.database_url.partition("sqlite:///")
    beside = Path(file).parent / "artifacts"
    if not sqlite or "artifacts_path" in settings.model_fields_set or not beside.is_dir():
        return settings
    return settings.model_copy(update={"artifacts_path": beside})


def database_url(given: str) -> str:
    """Return the URL of a database that is given as one, or as a SQLite file.

    Raises:
        InvalidInput: there is no such file: one that is not there is not made.
    """
    file = given if "://" not in given else given.removeprefix("sqlite:///")
    if "://" in file:
        return given
    if not Path(file).is_file():
        raise InvalidInput(
            file, expected="a SQLite file that is there, or postgresql://…", where="DB_URL"
        )
    return f"sqlite:///{Path(file).absolute()}"
