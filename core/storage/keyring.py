"""Keys: who may ask, for which owner, for what, until when.

A key is shown once, when it is made: `rws_<id>.<secret>`.  The id finds its row; of the secret, 256
bits of chance, only the SHA-256 is stored.  So much chance needs no slow hash.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    bindparam,
    insert,
    or_,
    select,
    update,
)

from core.errors import InvalidInput, NotFound
from core.storage.callers import OPERATOR, note
from core.storage.clean import clean_row
from core.storage.clock import now
from core.storage.codec import load
from core.storage.engine import glancing, reading, writing
from core.storage.job_reads import Row, read_rows
from core.storage.tables import audit, keys

Scope = Literal["jobs:read", "jobs:write", "code:submit", "metrics:read"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
USUAL_SCOPES: tuple[Scope, ...] = ("jobs:read", "jobs:write")
LONGEST_DAYS = 3_650
DAY_SECONDS = 86_400.0
USE_SECONDS = 60.0  # how exactly the last use is known

_OWNER = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_KEY = re.compile(r"rws_([0-9a-f]{16})\.([A-Za-z0-9_-]{43})")
_NOBODY = sha256(b"no key has this secret").hexdigest()


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key without its secret."""

    id: str
    owner: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody asked for; `subject` is the job or key that it was about."""

    id: str
    owner: str
    key_id: str | None
    request_id: str | None
    action: str
    subject: str | None
    created_at: datetime


_valid = and_(
    keys.c.revoked_at.is_(None), or_(keys.c.expires_at.is_(None), keys.c.expires_at > now())
)


class Keyring:
    """The keys of one database, and the book of what was done with them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self, owner: str, name: str = "", scopes: Sequence[str] = USUAL_SCOPES, days: int = 365
    ) -> tuple[StoredKey, str]:
        """Make a key; return its row, and the key itself, which nobody can be shown again.

        Args:
            owner:  whose jobs it opens.
            name:   for people: where it is kept, what it is for.
            scopes: what may be asked for with it.
            days:   after which it opens nothing any more.

        Raises:
            InvalidInput: a name or scope that cannot be, or too many days.
        """
        _check(owner, scopes, days)
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        row = clean_row(
            "keys",
            {
                "id": key_id,
                "owner": owner,
                "name": name,
                "scopes": list(dict.fromkeys(scopes)),
                "sha256": _hash(secret),
            },
        )
        times = {"created_at": now(), "expires_at": now(days * DAY_SECONDS)}

        def work(connection: Connection) -> StoredKey:
            connection.execute(insert(keys).values(**times, **row))
            note(connection, OPERATOR, "keys.create", key_id)
            return _key(connection, key_id)

        return writing(self._engine, work), f"rws_{key_id}.{secret}"

    def list(self) -> tuple[StoredKey, ...]:
        """Return all keys, oldest first, those that open nothing any more included."""
        with reading(self._engine) as connection:
            rows = read_rows(connection, select(keys).order_by(keys.c.created_at, keys.c.id))
            return tuple(load(StoredKey, row) for row in rows)

    def revoke(self, key_id: str) -> StoredKey:
        """Make a key open nothing any more, from now on; doing so twice is doing it once.

        Raises:
            NotFound: no such key.
        """

        def work(connection: Connection) -> StoredKey:
            found = update(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
            if connection.execute(found.values(revoked_at=now())).rowcount:
                note(connection, OPERATOR, "keys.revoke", key_id)
            return _key(connection, key_id)

        return writing(self._engine, work)

    def any_valid(self) -> bool:
        """Tell whether some key opens something."""
        with reading(self._engine) as connection:
            return connection.execute(select(keys.c.id).where(_valid).limit(1)).first() is not None

    def find(self, key: str) -> StoredKey | None:
        """Return the row of a key that somebody shows; None if it is none, has ended or was revoked.

        Raises:
            StorageFailed: the database cannot be asked.
        """
        parts = take_apart(key)
        if parts is None:
            return None
        key_id, secret = parts
        with glancing(self._engine) as connection:
            rows = read_rows(connection, FIND, {"key_id": key_id})
        found = opened(rows, secret)
        if found is not None and rows[0]["stale"]:
            self._note_use(key_id)
        return found

    def _note_use(self, key_id: str) -> None:
        used = update(keys).where(keys.c.id == key_id, _stale()).values(last_used_at=now())
        writing(self._engine, lambda connection: connection.execute(used))

    def audit(
        self, *, owner: str | None = None, subject: str | None = None, limit: int = 100
    ) -> tuple[AuditEntry, ...]:
        """Return what was asked for, newest first: of all, of one owner, or about one job or key."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(audit.c.owner == owner)
        if subject is not None:
            query = query.where(audit.c.subject == subject)
        with reading(self._engine) as connection:
            return tuple(load(AuditEntry, row) for row in read_rows(connection, query))


def _stale() -> ColumnElement[bool]:
    return or_(keys.c.last_used_at.is_(None), keys.c.last_used_at < now(-USE_SECONDS))


# Made once: every request asks it, and to put it together costs more than to ask it.
FIND = select(keys, _stale().label("stale")).where(keys.c.id == bindparam("key_id"), _valid)


def take_apart(key: str) -> tuple[str, str] | None:
    """Return the id and the secret of a key that somebody shows; None if it is none."""
    parts = _KEY.fullmatch(key)
    return None if parts is None else (parts[1], parts[2])


def opened(rows: Sequence[Row], secret: str) -> StoredKey | None:
    """Return the key that FIND found under an id; None if there is none, or its secret is another."""
    # Unknown ids are compared as well, so that the time of an answer tells nothing.
    right = hmac.compare_digest(_hash(secret), rows[0]["sha256"] if rows else _NOBODY)
    return load(StoredKey, rows[0]) if rows and right else None


def _key(connection: Connection, key_id: str) -> StoredKey:
    rows = read_rows(connection, select(keys).where(keys.c.id == key_id))
    if not rows:
        raise NotFound(
            f"There is no key `{key_id[:40]}`.", hint="List them with `rewardsmith keys list`."
        )
    return load(StoredKey, rows[0])


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _check(owner: str, scopes: Sequence[str], days: int) -> None:
    if not _OWNER.fullmatch(owner):
        raise InvalidInput(
            repr(owner),
            expected="up to 64 lower-case letters, digits, and . _ @ -",
            where="owner",
        )
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InvalidInput(
            ", ".join(unknown) or "none", expected=f"some of {', '.join(SCOPES)}", where="scopes"
        )
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidInput(f"{days}", expected=f"1 to {LONGEST_DAYS}", where="days")
