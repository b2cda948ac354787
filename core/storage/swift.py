"""The few questions that most requests ask, put to PostgreSQL by the event loop itself.

A thread for each of them costs more than the question does, and SQLAlchemy's connection more than the
thread.  The statements are the store's, and the rows become the same records.  Whatever is out of the
ordinary (a broken connection, a request that is repeated, a limit) is left to the store: `Unusual`
says that nothing has happened, and that the store has to be asked.

What a caller may see is held by the same two walls as in the store: every query names the owner, and
every transaction tells the database who it is for.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import psycopg
from sqlalchemy import Engine, text

from core.errors import StorageFailed
from core.failpoints import failpoint
from core.records.kinds import FINISHED
from core.records.spec import JobSpec
from core.storage import accept, claims, job_reads, keyring, lifecycle, reads
from core.storage.callers import INTRODUCE, NOTE, Caller, note_row
from core.storage.codec import dump_text, load
from core.storage.connections import Connections
from core.storage.engine import CHECK_HINT
from core.storage.ids import check_job_id, is_job_id, no_such
from core.storage.job_reads import Row
from core.storage.ready import Ready
from core.storage.stored import Activity, Event, StoredJob
from core.storage.wire import Asked, Rows, Wire

COUNT_SECONDS = 1.0  # for which it is known that an owner is far from having too many jobs
MOST_OWNERS = 10_000
FAR = 0.5  # share of what an owner may have
UNCOUNTED = (
    16  # part of it that a process accepts on one count: eight processes keep the limit with it
)

_BEGIN = Ready(text("BEGIN ISOLATION LEVEL READ COMMITTED"))
_COMMIT, _ROLLBACK = Ready(text("COMMIT")), Ready(text("ROLLBACK"))
_INTRODUCE = Ready(INTRODUCE)
_KEY = Ready(keyring.FIND)
_STATUS = Ready(job_reads.STATUS[1])
_JOB = Ready(job_reads.JOB[1])
_ACTIVITY = Ready(claims.ACTIVITY)
_COUNTS = Ready(job_reads.COUNTS)
_EVENTS = Ready(reads.EVENTS)
_UNFINISHED = Ready(accept.UNFINISHED)
_ALONE = Ready(accept.ALONE)


JobAtWork: TypeAlias = tuple[StoredJob, tuple[Activity, ...]]


class Unusual(Exception):
    """Nothing has happened; the store has to be asked."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A new job without programs and webhooks; see `Store.create_job`."""

    spec: JobSpec
    idempotency_key: str | None
    body_sha256: str
    name: str | None
    labels: Mapping[str, str]
    most_open: int
    offer_seconds: float | None


@dataclass(slots=True)
class Count:
    """What is known of an owner who was far from having too many jobs.

    Attributes:
        at:   when they were counted, by `time.monotonic`.
        left: how many more are accepted before they are counted again.
    """

    at: float
    left: int


class Swift:
    """Asks one PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        """Prepare connections to where an engine's lead; none is opened yet."""
        _, arguments = engine.dialect.create_connect_args(engine.url)
        self._connections = Connections(arguments)
        self._inserts: dict[str, Ready] = {}
        self._far: dict[str, Count] = {}  # by owner
        self._owners: dict[str, str] = {}  # key's id -> owner

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._connections.forget()

    async def find_key(self, shown: str) -> keyring.StoredKey | None:
        """Return the row of a key that somebody shows, as `Keyring.find` does.

        Raises:
            Unusual: also where it has to be noted that the key is used.
        """
        parts = keyring.take_apart(shown)
        if parts is None:
            return None
        async with self._wire() as wire:
            [rows] = await wire.ask((_KEY, {"key_id": parts[0]}))
        return self._opened(rows, parts[1])

    async def open_job(
        self, shown: str, job_id: str
    ) -> tuple[keyring.StoredKey | None, JobAtWork | None]:
        """Return the row of a key that somebody shows, and a job with it, in one go if that can be.

        What is behind the key can be asked for together with the key, because its owner never changes:
        who that is was told when the key was seen before.  Nothing is told unless the key opens it now.

        Raises:
            Unusual: as `find_key`.
        """
        parts = keyring.take_apart(shown)
        owner = None if parts is None else self._owners.get(parts[0])
        if parts is None or owner is None or not is_job_id(job_id):
            return await self.find_key(shown), None
        async with self._wire() as wire:
            key = (_KEY, {"key_id": parts[0]})
            _, rows, *job = await wire.ask(_introduced(Caller(owner)), key, *_of_job(owner, job_id))
        found = self._opened(rows, parts[1])
        if found is None or found.owner != owner or not job[0]:
            return found, None
        return found, _job_at_work(*job)

    def _opened(self, rows: Rows, secret: str) -> keyring.StoredKey | None:
        found = keyring.opened(rows, secret)
        if found is None:
            return None
        if rows[0]["stale"]:
            raise Unusual
        if len(self._owners) >= MOST_OWNERS:
            self._owners.clear()
        self._owners[found.id] = found.owner
        return found

    async def job_at_work(self, caller: Caller, job_id: str) -> JobAtWork:
        """Return a job and who works on its steps, as `Store.job_at_work` does.

        Raises:
            NotFound: no such job.
            Unusual: see there.
        """
        asked = _of_job(caller.owner, check_job_id(job_id))
        jobs, doing, counts = await self._read(caller, *asked)
        if not jobs:
            raise no_such("job", job_id)
        return _job_at_work(jobs, doing, counts)

    async def events(
        self, caller: Caller, job_id: str, after: int, limit: int
    ) -> tuple[Event, ...]:
        """Return the events of a job, as `Store.events` does.

        Raises:
            NotFound: no such job.
            Unusual: see there.
        """
        mine = {"job_id": check_job_id(job_id), "owner": caller.owner}
        asked = {"job_id": job_id, "after": after, "most": limit}
        known, events = await self._read(caller, (_STATUS, mine), (_EVENTS, asked))
        if not known:
            raise no_such("job", job_id)
        return tuple(load(Event, row) for row in events)

    async def create_job(self, caller: Caller, new: Submission) -> StoredJob:
        """Accept a job, as `Store.create_job` does.

        Raises:
            InvalidInput: as there.
            StorageFailed: something went wrong from where the job was being stored.
            Unusual: also where the key was used before, or the owner has too many jobs.
        """
        asked = (new.spec, new.idempotency_key, new.body_sha256, new.name, new.labels)
        row = accept.job_row(*asked, caller.owner, key_id=caller.key_id, write=dump_text)
        count = not self._is_far_enough(caller.owner)
        committing = False
        try:
            async with self._wire() as wire:
                created_at = await self._insert(wire, caller, row, new.most_open, count)
                failpoint("job.accepting")
                committing = True
                await self._finish(wire, caller, row, new.offer_seconds)
        except Unusual as unusual:
            if not committing:
                raise
            # Nobody knows whether the job is stored; its key will tell.
            error = unusual.__cause__
            raise StorageFailed(f"The database cannot be used: {error}", hint=CHECK_HINT) from error
        failpoint("job.accepted")
        return accept.new_job(new.spec, row, created_at)

    async def _insert(
        self, wire: Wire, caller: Caller, row: Row, most_open: int, count: bool
    ) -> datetime:
        stored = accept.written(row)
        asked = [(self._inserting("job", accept.NEW["postgresql"], stored), stored)]
        if count:
            asked.append((_UNFINISHED, {"owner": caller.owner}))
        _, _, new, *counted = await wire.ask((_BEGIN, {}), _introduced(caller), *asked)
        number = counted[0][0]["number"] if counted else 0
        if new and count and accept.is_near(number, most_open):
            turn = {"turn": accept.turn_of(caller.owner)}
            _, again = await wire.ask((_ALONE, turn), (_UNFINISHED, {"owner": caller.owner}))
            number = again[0]["number"]
        if not new or number > most_open:
            await wire.ask((_ROLLBACK, {}))
            raise Unusual
        if count and number < FAR * most_open:
            self._far[caller.owner] = Count(time.monotonic(), most_open // UNCOUNTED)
        created_at: datetime = new[0]["created_at"]
        return created_at

    async def _finish(
        self, wire: Wire, caller: Caller, row: Row, offer_seconds: float | None
    ) -> None:
        job_id = str(row["id"])
        event = lifecycle.event_row(*accept.first_event(row))
        noted = note_row(caller, "jobs.create", job_id)
        asked = [
            (self._inserting("event", lifecycle.EVENT, event), event),
            (self._inserting("note", NOTE, noted), noted),
        ]
        if offer_seconds is not None:
            offer = claims.first_offer(job_id, offer_seconds)
            asked.append((self._inserting("offer", claims.OFFER, offer), offer))
        await wire.ask(*asked, (_COMMIT, {}))

    def _inserting(self, name: str, statement: Any, values: Mapping[str, object]) -> Ready:
        if name not in self._inserts:
            self._inserts[name] = Ready(statement, values)
        return self._inserts[name]

    def _is_far_enough(self, owner: str) -> bool:
        """Take one of the jobs that may be accepted without another count, if there are any."""
        known = self._far.get(owner)
        if known is None or not known.left or time.monotonic() - known.at >= COUNT_SECONDS:
            return False
        known.left -= 1
        return True

    async def _read(self, caller: Caller, *asked: Asked) -> list[Rows]:
        async with self._wire() as wire:
            return (await wire.ask(_introduced(caller), *asked))[1:]

    @asynccontextmanager
    async def _wire(self) -> AsyncIterator[Wire]:
        """Yield a connection; whatever goes wrong with it is left to the store.

        Raises:
            Unusual: something went wrong, and what was begun is undone.
        """
        try:
            async with self._connections.one() as wire:
                yield wire
        except psycopg.Error as error:
            self._connections.forget()
            raise Unusual from error


def _of_job(owner: str, job_id: str) -> tuple[Asked, ...]:
    one = {"job_id": job_id}
    return (_JOB, {**one, "owner": owner}), (_ACTIVITY, one), (_COUNTS, one)


def _job_at_work(jobs: Rows, doing: Rows, counts: Rows) -> JobAtWork:
    job = job_reads.job_from(jobs[0], job_reads.counts_from(counts))
    return job, () if job.status in FINISHED else claims.activities(doing)


def _introduced(caller: Caller) -> Asked:
    return _INTRODUCE, {"owner": caller.owner}
