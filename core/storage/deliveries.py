"""Messages to webhooks: written with the event that they tell of, sent later, at least once.

A message that is due is taken by putting off when it is due next, by as long as an attempt may last:
whoever dies with it in hand has left it to the others.  Only the newest attempt is settled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, cast, get_args
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from core.records.kinds import Json, WebhookEvent
from core.records.spec import Webhook
from core.storage.access import Access, check_limit
from core.storage.clean import clean_integer, clean_json
from core.storage.clock import now
from core.storage.codec import load
from core.storage.tables import deliveries, events, jobs

TOLD: frozenset[str] = frozenset(get_args(WebhookEvent))
MOST_LOGGED = 20
MOST_RESTED = 500  # in one transaction; what is over it is due, and rests after the next attempt

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

    def owners_due(self) -> tuple[str, ...]:
        """Return whose messages are due, whoever waits longest first.

        A worker that is told of nobody takes nothing, and so never waits for the right to write.
        """
        return self._of_all()._read(owners_due)

    def take(self, owner: str, lease_seconds: float) -> Delivery | None:
        """Take a message of an owner's that is due; nobody else does so within that many seconds."""
        return self._of_all()._write(lambda c: take(c, owner, lease_seconds))

    def settle(
        self, delivery: Delivery, status: DeliveryStatus, attempt: Json, pause: float = 0.0
    ) -> None:
        """Write down how an attempt ended; one that still waits is due again after `pause` seconds."""
        self._of_all()._write(lambda c: settle(c, delivery, status, attempt, pause))

    def rest(
        self, delivery: Delivery, attempt: Json, pause_after: Callable[[int], float | None]
    ) -> None:
        """Let an attempt at a host that said nothing count for all that its owner has due for it.

        `pause_after` tells by how many attempts a message has had when it is due again; where there is
        to be no other one, the message is left to an attempt of its own.
        """
        self._of_all()._write(lambda c: rest(c, delivery, attempt, pause_after))


def enqueue(connection: Connection, job_id: str, kind: str, number: object) -> None:
    """Write the message of an event, if the job has a webhook that wants to hear of it."""
    stored = connection.execute(select(jobs.c.webhook).where(jobs.c.id == job_id)).scalar_one()
    if stored is None or kind not in stored["events"]:
        return
    row = {"job_id": job_id, "seq": number, "status": "waiting", "attempts": 0, "log": []}
    connection.execute(insert(deliveries).values(not_before=now(), created_at=now(), **row))


def owners_due(connection: Connection) -> tuple[str, ...]:
    """Return whose messages are due, whoever waits longest first."""
    query = select(jobs.c.owner).join(deliveries, deliveries.c.job_id == jobs.c.id).where(_due())
    query = query.group_by(jobs.c.owner).order_by(func.min(deliveries.c.not_before))
    return tuple(connection.execute(query).scalars())


def take(connection: Connection, owner: str, lease_seconds: float) -> Delivery | None:
    """Take the message of an owner's that has been due for longest, and count the attempt."""
    theirs = select(jobs.c.id).where(jobs.c.owner == owner)
    due = select(deliveries.c.job_id, deliveries.c.seq)
    due = due.where(_due(), deliveries.c.job_id.in_(theirs)).limit(1)
    due = due.order_by(deliveries.c.not_before, deliveries.c.job_id, deliveries.c.seq)
    key = connection.execute(due.with_for_update(skip_locked=True)).first()
    if key is None:
        return None
    mine = _is(*key)
    taken = update(deliveries).where(mine).values(not_before=now(lease_seconds))
    connection.execute(taken.values(attempts=deliveries.c.attempts + 1))
    query = (
        select(deliveries.c.attempts, events, jobs.c.webhook)
        .join(events, _same(events.c.job_id, events.c.seq))
        .join(jobs, jobs.c.id == deliveries.c.job_id)
        .where(mine)
    )
    return _delivery(connection.execute(query).one())


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
    changed = update(deliveries).where(held).values(status=status, log=_longer(found, attempt))
    connection.execute(changed.values(not_before=now(pause_seconds)))


def rest(
    connection: Connection,
    delivery: Delivery,
    attempt: Json,
    pause_after: Callable[[int], float | None],
) -> None:
    """Count an attempt for what the same owner has due for the same host; see `Deliveries.rest`."""
    owner = select(jobs.c.owner).where(jobs.c.id == delivery.job_id).scalar_subquery()
    theirs = select(jobs.c.id).where(jobs.c.owner == owner, _of_host(delivery.webhook.url))
    columns = (deliveries, now().label("at"))
    query = select(*columns).where(_due(), deliveries.c.job_id.in_(theirs)).limit(MOST_RESTED)
    # What somebody holds is being seen to: nobody waits here for another one, nor in a circle.
    for row in connection.execute(query.with_for_update(of=deliveries, skip_locked=True)).all():
        attempts = row.attempts + 1
        pause = pause_after(attempts)
        if pause is not None:
            changed = update(deliveries).where(_is(row.job_id, row.seq))
            changed = changed.values(attempts=attempts, log=_longer(row, attempt))
            connection.execute(changed.values(not_before=now(pause)))


def listed(
    connection: Connection, job_id: str, after: int, limit: int
) -> tuple[StoredDelivery, ...]:
    """Return a job's messages about events with a number above `after`, oldest first."""
    columns = (deliveries, events.c.kind)
    query = select(*columns).join(events, _same(events.c.job_id, events.c.seq))
    query = query.where(deliveries.c.job_id == job_id, deliveries.c.seq > after)
    query = query.order_by(deliveries.c.seq).limit(limit)
    return tuple(_stored(row) for row in connection.execute(query))


def _longer(row: Row[Any], attempt: Json) -> list[object]:
    """Return a message's log with another entry."""
    entry = {"at": row.at.isoformat(), **attempt}
    return [*row.log, clean_json(entry, "delivery")][-MOST_LOGGED:]


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


def _of_host(url: str) -> Any:
    """Hold a job to have a webhook on the host and port of a URL, as they are written there."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}".lower()
    told = func.lower(jobs.c.webhook["url"].as_string())
    return or_(told == origin, *(told.startswith(origin + end, autoescape=True) for end in "/?"))
