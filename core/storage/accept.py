"""Accepting a job: once per idempotency key, with its first event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from core.errors import InvalidInput, LimitReached
from core.records import FINISHED, Given, JobSpec, Webhook
from core.storage.clean import clean_text
from core.storage.codec import dump
from core.storage.facts import insert_once
from core.storage.ids import new_job_id
from core.storage.lifecycle import append_event
from core.storage.people import insert_given
from core.storage.requests import mismatch
from core.storage.tables import LOCAL, jobs

LONGEST_KEY = 255


def job_row(
    spec: JobSpec,
    idempotency_key: str | None,
    body_sha256: str,
    name: str | None,
    labels: Mapping[str, str],
    owner: str = LOCAL,
    webhook: Webhook | None = None,
) -> dict[str, object]:
    """Return the row of a new job.

    Raises:
        InvalidInput: a number of the spec is not finite, or the key cannot be stored as it is.
    """
    check_key(idempotency_key)
    return {
        "id": new_job_id(),
        "owner": owner,
        "name": name,
        "labels": dict(labels),
        "spec": dump(spec),
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
) -> tuple[str, bool]:
    """Insert a job and the programs that it starts from, all or nothing.

    Returns the job's id, and whether it is an earlier one of the owner's with the same key.

    Raises:
        IdempotencyMismatch: the key was used with another body.
        LimitReached: the owner has more unfinished jobs than allowed.
    """
    if insert_once(connection, jobs, row):
        if most_open is not None:
            _check_open(connection, row["owner"], most_open)
        details = {"task": row["task"], "method": row["method"]}
        append_event(connection, row["id"], "job.created", "The job was accepted.", details)
        for program in start:
            insert_given(connection, row["id"], program)
        return row["id"], False
    key = row["idempotency_key"]
    query = select(jobs.c.id, jobs.c.body_sha256).where(jobs.c.idempotency_key == key)
    earlier = connection.execute(query.where(jobs.c.owner == row["owner"])).one()
    if earlier.body_sha256 != row["body_sha256"]:
        raise mismatch(f"job {earlier.id}")
    return earlier.id, True


def _check_open(connection: Connection, owner: str, most: int) -> None:
    """Refuse the newest job of an owner who has too many; those of the same moment may all pass."""
    unfinished = select(func.count()).where(jobs.c.owner == owner, jobs.c.status.not_in(FINISHED))
    if connection.execute(unfinished).scalar_one() > most:
        raise LimitReached(
            f"{most} unfinished jobs",
            expected=f"fewer than {most}",
            where="jobs of one owner",
            hint="Wait until one has ended, or cancel one.",
        )


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
