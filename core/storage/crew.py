"""Which workers there are: each says so itself, every few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, column, delete, func, select, table

from core.storage.access import Access
from core.storage.clean import clean_row
from core.storage.clock import UtcTime, now
from core.storage.codec import load
from core.storage.facts import INSERT
from core.storage.job_reads import read_rows
from core.storage.stored import Queued, StoredJob
from core.storage.tables import workers

ALIVE_SECONDS = 20.0
FORGOTTEN_SECONDS = 3_600.0

# A view of migration 0007: jobs of all owners that wait or are worked on, by their age alone.
_line = table("line", column("status"), column("created_at", UtcTime()))


@dataclass(frozen=True, slots=True)
class Presence:
    """What a worker says of itself."""

    name: str
    queues: tuple[str, ...]
    slots: int
    busy: int
    device: str


@dataclass(frozen=True, slots=True)
class StoredWorker:
    """A worker, and for how long nothing was heard of it."""

    name: str
    queues: tuple[str, ...]
    slots: int
    busy: int
    device: str
    started_at: datetime
    silent_seconds: float

    @property
    def alive(self) -> bool:
        """Tell whether it was heard of lately."""
        return self.silent_seconds < ALIVE_SECONDS


class Crew(Access):
    """Who works, and who waits."""

    def workers(self) -> tuple[StoredWorker, ...]:
        """Return the workers; they serve all owners."""
        return self._read(crew_of)

    def ahead_of(self, waiting: Sequence[StoredJob | Queued]) -> tuple[int, ...]:
        """Return for each job how many older ones wait or are worked on, whoever owns them."""
        moments = [job.created_at for job in waiting]
        return self._read(lambda c: ahead_of(c, moments))

    def report(self, presence: Presence) -> None:
        """Note that a worker is there."""
        self._of_all()._write(lambda c: report(c, presence))

    def sign_off(self, name: str) -> None:
        """Note that a worker has ended."""
        self._of_all()._write(lambda c: leave(c, name))


def report(connection: Connection, presence: Presence) -> None:
    """Note that a worker is there; forget those that have been silent for long."""
    said = {
        "name": presence.name,
        "queues": list(presence.queues),
        "slots": presence.slots,
        "busy": presence.busy,
        "device": presence.device,
    }
    row = clean_row("workers", said)
    insert = INSERT[connection.dialect.name](workers)
    insert = insert.values(started_at=now(), seen_at=now(), **row)
    changed = {"busy": row["busy"], "seen_at": now()}
    connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=changed))
    connection.execute(delete(workers).where(workers.c.seen_at < now(-FORGOTTEN_SECONDS)))


def leave(connection: Connection, name: str) -> None:
    """Note that a worker has ended."""
    connection.execute(delete(workers).where(workers.c.name == name))


def crew_of(connection: Connection) -> tuple[StoredWorker, ...]:
    """Return the workers, the oldest first."""
    query = select(workers, now().label("now")).order_by(workers.c.started_at, workers.c.name)
    return tuple(
        load(
            StoredWorker,
            {**row, "silent_seconds": max(0.0, (row["now"] - row["seen_at"]).total_seconds())},
        )
        for row in read_rows(connection, query)
    )


def ahead_of(connection: Connection, moments: Sequence[datetime]) -> tuple[int, ...]:
    """Return for each moment how many jobs of all owners have waited, or been worked on, for longer."""
    created: Column[datetime] = _line.c.created_at  # type: ignore[assignment]
    return tuple(
        connection.execute(
            select(func.count()).select_from(_line).where(created < moment)
        ).scalar_one()
        for moment in moments
    )
