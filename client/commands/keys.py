"""`rewardsmith keys` and `rewardsmith audit`: who may ask, and who did.

They work on the database of the server's settings, not over HTTP: whoever may read that may make keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from client.console import JsonFlag, Screen

if TYPE_CHECKING:
    from core.storage import StoredKey
    from core.storage.keyring import Keyring

app = typer.Typer(help="Look after the keys of the server.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Look after the keys of the server."""


@app.command("create")
def create(
    owner: Annotated[
        str, typer.Argument(help="Whose jobs the key opens; `local` for those made without.")
    ],
    name: Annotated[str, typer.Option(help="For people: where it is kept, what it is for.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="jobs:read and jobs:write unless given; code:submit, metrics:read."),
    ] = None,
    days: Annotated[int, typer.Option(help="After which it opens nothing any more.")] = 365,
    json_output: JsonFlag = False,
) -> None:
    """Make a key and show it, this once."""
    from core.storage.keyring import USUAL_SCOPES

    screen = Screen(json_output)
    with _keyring() as ring:
        made, key = ring.create(owner, name, scope or USUAL_SCOPES, days)
    screen.emit({**_document(made), "key": key})
    screen.say(key)
    screen.say(
        f"It opens the jobs of {owner} until {made.expires_at:%Y-%m-%d}; nobody can show it again."
    )
    screen.say("Use it: export REWARDSMITH_API_KEY=<the key>")


@app.command("list")
def show(json_output: JsonFlag = False) -> None:
    """List all keys, without what opens anything."""
    screen = Screen(json_output)
    with _keyring() as ring:
        found = ring.list()
    screen.emit({"data": [_document(key) for key in found]})
    if not found:
        screen.say("There is no key; make one with `rewardsmith keys create OWNER`.")
    for key in found:
        used = (
            "never used" if key.last_used_at is None else f"used {key.last_used_at:%Y-%m-%d %H:%M}"
        )
        screen.say(
            f"{key.id}  {key.owner:16} {_standing(key):20} {used:22} {','.join(key.scopes)}  {key.name}"
        )


@app.command("revoke")
def revoke(
    key_id: Annotated[
        str, typer.Argument(help="Id of the key, the part before the dot without rws_.")
    ],
    json_output: JsonFlag = False,
) -> None:
    """Let a key open nothing any more, from the next request on."""
    screen = Screen(json_output)
    with _keyring() as ring:
        gone = ring.revoke(key_id.removeprefix("rws_").partition(".")[0])
    screen.emit(_document(gone))
    screen.say(f"Key {gone.id} of {gone.owner} opens nothing any more.")


def audit(
    owner: Annotated[str | None, typer.Option(help="Only what this owner asked for.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only about this job or key.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 100,
    json_output: JsonFlag = False,
) -> None:
    """Tell who asked for which change, newest first."""
    screen = Screen(json_output)
    with _keyring() as ring:
        found = ring.audit(owner=owner, subject=subject, limit=limit)
    screen.emit({"data": [_plain(asdict(entry)) for entry in found]})
    for entry in found:
        screen.say(
            f"{entry.created_at:%Y-%m-%d %H:%M:%S}  {entry.owner:16} {entry.key_id or '-':16} "
            f"{entry.action:14} {entry.subject or '-'}  {entry.request_id or ''}"
        )


@contextmanager
def _keyring() -> Iterator[Keyring]:
    from core.settings import read_settings
    from core.storage import open_store

    store = open_store(read_settings().database_url)
    try:
        store.check_schema()
        yield store.keys
    finally:
        store.close()


def _standing(key: StoredKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    ended = key.expires_at is not None and key.expires_at <= datetime.now(UTC)
    return "ended" if ended else f"until {key.expires_at:%Y-%m-%d}"


def _document(key: StoredKey) -> dict[str, object]:
    return _plain(asdict(key))


def _plain(document: dict[str, object]) -> dict[str, object]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in document.items()
    }
