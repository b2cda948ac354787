"""On whose behalf the database is asked, and what was asked for.

Two walls keep an owner's rows from everybody else.  Every query of a bound store names the owner, or
first makes sure that the job is the owner's.  On PostgreSQL each transaction also tells the
database who it is for, and row-level security hides all other rows from the role of the web server:
a query that forgets its owner finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, insert, select, text

from core.storage.clean import clean_row
from core.storage.clock import now
from core.storage.ids import new_body
from core.storage.tables import LOCAL, audit

SETTING = "rewardsmith.owner"  # read by the policies of migration 0005

# Made once: to put a statement together costs more than to ask it.
INTRODUCE = select(func.set_config(SETTING, bindparam("owner"), True))
NOTE = insert(audit).values(created_at=now())


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        owner:      whose jobs there are to be seen.
        key_id:     of the key that was shown; None where none was needed.
        request_id: names the request in the server's log.
    """

    owner: str = LOCAL
    key_id: str | None = None
    request_id: str | None = None


OPERATOR = Caller("operator")
"""Whoever sits at the server's own command line."""


def introduce(connection: Connection, caller: Caller | None) -> None:
    """Tell the database for whom the transaction is; nobody is a worker, which serves all owners."""
    if caller is not None and connection.dialect.name == "postgresql":
        connection.execute(INTRODUCE, {"owner": caller.owner})


def sees_all(connection: Connection) -> bool:
    """Tell whether a transaction for nobody is shown the rows of all owners."""
    if connection.dialect.name != "postgresql":
        return True
    query = text(
        "SELECT NOT row_security_active('jobs')"
        " OR COALESCE(pg_has_role(to_regrole('rewardsmith_worker')::oid, 'USAGE'), false)"
    )
    return bool(connection.execute(query).scalar_one())


def note(connection: Connection, caller: Caller | None, action: str, subject: str | None) -> None:
    """Write down, in the transaction of the change itself, who asked for it; workers are not people."""
    if caller is not None:
        connection.execute(NOTE, note_row(caller, action, subject))


def note_row(caller: Caller, action: str, subject: str | None) -> dict[str, object]:
    """Return the row of the audit that tells who asked for what, fit to be stored."""
    row = {
        "id": f"audit_{new_body()}",
        "owner": caller.owner,
        "key_id": caller.key_id,
        "request_id": caller.request_id,
        "action": action,
        "subject": subject,
    }
    return clean_row("audit", row)
