"""Messages to webhooks: written with the event that they tell of, sent later, at least once.

A message that is due is taken by putting off when it is due next, by as long as an attempt may last:
whoever dies with it in hand has left it to the others.  Only the newest attempt is settled.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, cast, get_args

from sqlalchemy import Connection, Row, and_, insert, or_, select, update

from core.records.kinds import Json, WebhookEvent
from core.records.spec import Webhook
from core.storage.access import Access, check_limit
from core.storage.clean import clean_integer, clean_json
from core.storage.clock import now
from core.storage.codec import load
from core.storage.tables import deliveries, events, jobs

TOLD: frozenset[str] = frozenset(get_args(WebhookEvent))
MOST_LOGGED = 20

DeliveryStatus: TypeAlias = Literal["waiting", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was taken and is to be sent now; `attempt` counts from 1."""

    job_id: str
    number: int
    attempt: int
    kind: str
    message: str
    data: Json
    happened_at: datetime
    webhook: Webhook


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A message as it stands.

    Attributes:
        number: of the event that it tells of.
        log:    one entry per attempt: `at`, `status`, `error`, `seconds`.
        next_at: when the next attempt is due; None if there is none.
    """

    number: int
    kind: str
    status: DeliveryStatus
    attempts: int
    log: tuple[Json, ...]
    created_at: datetime
    next_at: datetime | None


class Deliveries(Access):
    """Messages to webhooks: read by whoever owns the job, sent by workers."""

    def of(self, job_id: str, after: int = 0, limit: int = 100) -> tuple[StoredDelivery, ...]:
        """Return the messages to a job's webhook about events with a number above `after`.

        Raises:
            NotFound: no such job.
            InvalidInput: `limit` or `after` is out of range.
        """
        check_limit(limit)
        clean_integer(after, "after")
        return self._of_job(job_id, lambda c: listed(c, job_id, after, limit))

    def take(self, most: int, lease_seconds: float) -> tuple[Delivery, ...]:
        """Take messages that are due; nobody else does so within that many seconds."""
        store = self._of_all()
        if not store._read(any_due):
            return ()  # so that a worker with nothing to send never waits for the right to write
        return store._write(lambda c: take(c, most, lease_seconds))

    def settle(
        self, delivery: Delivery, status: DeliveryStatus, attempt: Json, pause: float = 0.0
    ) -> None:
        """Write down how an attempt ended; one that still waits is due again after `pause` seconds."""
        self._of_all()._write(lambda c: settle(c, delivery, status, attempt, pause))


def enqueue(connection: Connection, job_id: str, kind: str, number: object) -> None:
    """Write the message of an event, if the job has a webhook that wants to hear of it."""
    stored = connection.execute(select(jobs.c.webhook).where(jobs.c.id == job_id)).scalar_one()
    if stored is None or kind not in stored["events"]:
        return
    row = {"job_id": job_id, "seq": number, "status": "waiting", "attempts": 0, "log": []}
    connection.execute(insert(deliveries).values(not_before=now(), created_at=now(), **row))


def any_due(connection: Connection) -> bool:
    """Tell whether a message waits whose time has come."""
    return connection.execute(select(deliveries.c.seq).where(_due()).limit(1)).first() is not None


def take(connection: Connection, most: int, lease_seconds: float) -> tuple[Delivery, ...]:
    """Take messages that are due, those that wait longest first, and count the attempt."""
    due = select(deliveries.c.job_id, deliveries.c.seq).where(_due())
    due = due.order_by(deliveries.c.not_before).limit(most).with_for_update(skip_locked=True)
    keys = connection.execute(due).all()
    if not keys:
        return ()
    mine = or_(*(_is(job_id, number) for job_id, number in keys))
    taken = update(deliveries).where(mine).values(not_before=now(lease_seconds))
    connection.execute(taken.values(attempts=deliveries.c.attempts + 1))
    query = (
        select(deliveries.c.attempts, events, jobs.c.webhook)
        .join(events, _same(events.c.job_id, events.c.seq))
        .join(jobs, jobs.c.id == deliveries.c.job_id)
        .where(mine)
    )
    return tuple(_delivery(row) for row in connection.execute(query))


def settle(
    connection: Connection,
    delivery: Delivery,
    status: DeliveryStatus,
    attempt: Json,
    pause_seconds: float = 0.0,
) -> None:
    """Write down how an attempt ended, unless the message was taken anew or its job is gone.

    `status` is that of the message now; one that is `waiting` is due again after `pause_seconds`.
    `attempt` is what is told of it: `status`, `error`, `seconds`.
    """
    here = _is(delivery.job_id, delivery.number)
    held = and_(here, deliveries.c.status == "waiting", deliveries.c.attempts == delivery.attempt)
    found = connection.execute(select(deliveries.c.log, now().label("at")).where(held)).first()
    if found is None:
        return
    entry = {"at": found.at.isoformat(), **attempt}
    log = [*found.log, clean_json(entry, "delivery")][-MOST_LOGGED:]
    changed = update(deliveries).where(held).values(status=status, log=log)
    connection.execute(changed.values(not_before=now(pause_seconds)))


def listed(
    connection: Connection, job_id: str, after: int, limit: int
) -> tuple[StoredDelivery, ...]:
    """Return a job's messages about events with a number above `after`, oldest first."""
    columns = (deliveries, events.c.kind)
    query = select(*columns).join(events, _same(events.c.job_id, events.c.seq))
    query = query.where(deliveries.c.job_id == job_id, deliveries.c.seq > after)
    query = query.order_by(deliveries.c.seq).limit(limit)
    return tuple(_stored(row) for row in connection.execute(query))


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        job_id=row.job_id,
        number=row.seq,
        attempt=row.attempts,
        kind=row.kind,
        message=row.message,
        data=row.data,
        happened_at=row.created_at,
        webhook=load(Webhook, row.webhook),
    )


def _stored(row: Row[Any]) -> StoredDelivery:
    return StoredDelivery(
        number=row.seq,
        kind=row.kind,
        status=cast("DeliveryStatus", row.status),
        attempts=row.attempts,
        log=tuple(row.log),
        created_at=row.created_at,
        next_at=row.not_before if row.status == "waiting" else None,
    )


def _due() -> Any:
    return and_(deliveries.c.status == "waiting", deliveries.c.not_before <= now())


def _is(job_id: str, number: int) -> Any:
    return and_(deliveries.c.job_id == job_id, deliveries.c.seq == number)


def _same(job_id: Any, number: Any) -> Any:
    return and_(job_id == deliveries.c.job_id, number == deliveries.c.seq)
