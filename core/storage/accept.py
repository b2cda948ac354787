"""Accepting a job: once per idempotency key, with its first event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, cast, get_args

from sqlalchemy import BigInteger, Connection, bindparam, func, or_, select

from core.errors import InvalidInput, LimitReached
from core.records.history import Spent
from core.records.kinds import FINISHED, JobStatus
from core.records.people import Given
from core.records.spec import JobSpec, Webhook
from core.storage.claims import offer_first
from core.storage.clean import clean_row, clean_text
from core.storage.clock import now
from core.storage.codec import dump
from core.storage.facts import INSERT
from core.storage.ids import new_job_id
from core.storage.lifecycle import add_event
from core.storage.people import insert_given
from core.storage.requests import mismatch
from core.storage.stored import StoredJob
from core.storage.tables import LOCAL, jobs

LONGEST_KEY = 255
NEAR = 64  # jobs below an owner's limit, from where on they are accepted one after another


def job_row(
    spec: JobSpec,
    idempotency_key: str | None,
    body_sha256: str,
    name: str | None,
    labels: Mapping[str, str],
    owner: str = LOCAL,
    webhook: Webhook | None = None,
    key_id: str | None = None,
    write: Callable[[JobSpec], object] = dump,
) -> dict[str, object]:
    """Return the row of a new job; `write` makes of its spec what the database is to be handed.

    Raises:
        InvalidInput: a number of the spec is not finite, or the key cannot be stored as it is.
    """
    check_key(idempotency_key)
    return {
        "id": new_job_id(),
        "owner": owner,
        "key_id": key_id,
        "name": name,
        "labels": dict(labels),
        "spec": write(spec),
        **({} if webhook is None else {"webhook": dump(webhook)}),
        "task": spec.task.name,
        "method": spec.method,
        "idempotency_key": idempotency_key,
        "body_sha256": body_sha256,
        "status": "queued",
        "phase": "preflight",
        "cancel_requested": False,
        "pause_requested": False,
        "iteration": -1,
        **dict.fromkeys(("env_steps", "tokens", "fence_count", "event_count", "money"), 0),
        **dict.fromkeys(("extensions", "idle_seconds"), 0),
    }


def insert_job(
    connection: Connection,
    row: Mapping[str, Any],
    start: Sequence[Given] = (),
    most_open: int | None = None,
    offer_seconds: float | None = None,
) -> datetime | None:
    """Insert a job, the programs that it starts from and the offer of its first step, all or nothing.

    Returns when that was; None where the owner has a job with the same key (see `earlier_job`).

    Raises:
        LimitReached: the owner has more unfinished jobs than allowed.
    """
    created_at = connection.execute(NEW[connection.dialect.name], written(row)).scalar()
    if created_at is None:
        return None
    if most_open is not None:
        check_open(connection, row["owner"], most_open)
    add_event(connection, *first_event(row))
    for program in start:
        insert_given(connection, row["id"], program)
    if offer_seconds is not None:
        offer_first(connection, row["id"], offer_seconds)
    return cast("datetime", created_at)


def written(row: Mapping[str, Any]) -> dict[str, object]:
    """Return a row of `job_row` as it is stored; the first event's number is known already."""
    dumped = {name: row[name] for name in ("spec", "webhook") if name in row}  # and clean by that
    others = {name: value for name, value in row.items() if name not in dumped}
    return {**clean_row("jobs", others), **dumped, "event_count": 1}


def first_event(row: Mapping[str, Any]) -> tuple[str, int, str, str, dict[str, object]]:
    """Return id, number, kind, message and details of a new job's first event."""
    details = {"task": row["task"], "method": row["method"]}
    return row["id"], 1, "job.created", "The job was accepted.", details


# Made once: to put a statement together costs more than to ask it.
NEW = {
    dialect: statement(jobs)
    .values(created_at=now())
    .on_conflict_do_nothing()
    .returning(jobs.c.created_at)
    for dialect, statement in INSERT.items()
}
# Told by name, so that an index finds them without a walk through all that an owner ever finished.
_OPEN = sorted(set(get_args(JobStatus)) - FINISHED)
UNFINISHED = select(func.count().label("number")).where(
    jobs.c.owner == bindparam("owner"), or_(*(jobs.c.status == status for status in _OPEN))
)
# Transactions do not see each other's jobs; whoever counts after this has seen all that were before.
ALONE = select(func.pg_advisory_xact_lock(bindparam("turn", type_=BigInteger)))


def new_job(spec: JobSpec, row: Mapping[str, Any], created_at: datetime) -> StoredJob:
    """Return a job that was just inserted without programs, as `job_reads.job` would read it."""
    known: dict[str, Any] = {name: row[name] for name in _SHOWN} | dict.fromkeys(_NOTHING_YET)
    return StoredJob(
        **known,
        spec=spec,
        created_at=created_at,
        counts={},
        spent=Spent(),
        event_count=1,
    )


_SHOWN = (
    *("id", "key_id", "name", "labels", "status", "phase", "cancel_requested", "pause_requested"),
    *("iteration", "extensions"),
)
_NOTHING_YET = (
    *("started_at", "finished_at", "preflight", "failure", "outcome"),
    *("best_candidate", "best_fitness", "native_fitness"),
)


def earlier_job(connection: Connection, row: Mapping[str, Any]) -> str:
    """Return the id of the owner's job with the same idempotency key.

    Raises:
        IdempotencyMismatch: the key was used with another body.
    """
    query = select(jobs.c.id, jobs.c.body_sha256)
    query = query.where(jobs.c.idempotency_key == row["idempotency_key"])
    earlier = connection.execute(query.where(jobs.c.owner == row["owner"])).one()
    if earlier.body_sha256 != row["body_sha256"]:
        raise mismatch(f"job {earlier.id}")
    return cast("str", earlier.id)


def check_open(connection: Connection, owner: str, most: int) -> None:
    """Refuse the newest job of an owner who has too many.

    Raises:
        LimitReached: the owner has.
    """
    number = connection.execute(UNFINISHED, {"owner": owner}).scalar_one()
    if is_near(number, most) and connection.dialect.name == "postgresql":
        connection.execute(ALONE, {"turn": turn_of(owner)})
        number = connection.execute(UNFINISHED, {"owner": owner}).scalar_one()
    if number > most:
        raise LimitReached(
            f"{most} unfinished jobs",
            expected=f"fewer than {most}",
            where="jobs of one owner",
            hint="Wait until one has ended, or cancel one.",
        )


def is_near(number: int, most: int) -> bool:
    """Tell whether so many unfinished jobs are so near to the limit that they are counted alone."""
    return number > most - NEAR


def turn_of(owner: str) -> int:
    """Return the number under which jobs of an owner are accepted one after another."""
    return int.from_bytes(sha256(f"jobs of {owner}".encode()).digest()[:8], "big", signed=True)


def check_key(key: str | None) -> None:
    """Make sure that an idempotency key can be stored as it is.

    Raises:
        InvalidInput: it cannot.
    """
    if key is None:
        return
    if not 0 < len(key) <= LONGEST_KEY or clean_text(key) != key:
        raise InvalidInput(
            f"a key of {len(key)} characters",
            expected=f"1 to {LONGEST_KEY} characters, no NUL",
            where="idempotency key",
        )
