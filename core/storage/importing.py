"""Taking an exported job in: its facts become those of a job of the caller's own.

The web server keeps the lines; a worker writes the facts, in one transaction, for the web server
never writes a measurement.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from core import choosing
from core.errors import StorageFailed
from core.records.rounds import Candidate
from core.storage import job_reads, proposing, results
from core.storage.accept import earlier_job, insert_job, job_row
from core.storage.access import Access
from core.storage.callers import note
from core.storage.clean import clean_row
from core.storage.clock import now
from core.storage.codec import dump, dump_record, to_columns
from core.storage.facts import insert_once
from core.storage.lifecycle import append_event, lock_job, set_job, transition
from core.storage.stored import StoredJob
from core.storage.tables import (
    LOCAL,
    candidates,
    evaluations,
    events,
    feedback,
    given,
    imports,
    iterations,
    jobs,
    remarks,
    rollouts,
)
from core.storage.transcripts import Transcript, read_transcript

_WORDS = {
    "succeeded": "The imported job had succeeded.",
    "failed": "The imported job had failed.",
    "cancelled": "The imported job had been cancelled.",
}


class Imports(Access):
    """Jobs that were exported elsewhere."""

    def accept(
        self,
        told: Transcript,
        text: str,
        *,
        idempotency_key: str | None,
        body_sha256: str,
        most_open: int | None = None,
    ) -> tuple[StoredJob, bool]:
        """Accept a job that was exported elsewhere; a worker takes its facts in.

        `told` is what `text` says.  True when the same request was accepted before.

        Raises:
            IdempotencyMismatch, LimitReached, InvalidInput: as for a job that is new.
        """

        def work(connection: Connection) -> tuple[str, bool]:
            job_id, replayed = accept_import(
                connection,
                told,
                text,
                idempotency_key,
                body_sha256,
                self._owner,
                most_open,
                self._key_id,
            )
            note(connection, self._caller, "jobs.import", job_id)
            return job_id, replayed

        job_id, replayed = self._write(work)
        job = self._read(lambda connection: job_reads.job(connection, job_id, self._owner))
        return job, replayed


def accept_import(
    connection: Connection,
    told: Transcript,
    text: str,
    idempotency_key: str | None,
    body_sha256: str,
    owner: str | None,
    most_open: int | None,
    key_id: str | None = None,
) -> tuple[str, bool]:
    """Keep an export for a worker to take in; return the new job's id, and whether it is an old one.

    Raises:
        IdempotencyMismatch, LimitReached: as `accept.insert_job`.
    """
    head = told.head
    row = job_row(
        head.spec,
        idempotency_key,
        body_sha256,
        head.name,
        head.labels,
        owner or LOCAL,
        key_id=key_id,
    )
    row |= {"notes": head.notes, "origin": head.id, "phase": "import"}
    if insert_job(connection, row, most_open=most_open) is None:
        return earlier_job(connection, row), True
    kept = {"job_id": row["id"], "content": zlib.compress(text.encode())}
    connection.execute(insert(imports).values(**kept, created_at=now()))
    return str(row["id"]), False


def take_in(connection: Connection, job_id: str) -> None:
    """Write every fact of the kept lines, and end the job as it had ended.

    Raises:
        InvalidInput: the lines cannot be read; they were checked at the door.
        StorageFailed: nothing is kept.
    """
    query = select(imports.c.content).where(imports.c.job_id == job_id)
    content = connection.execute(query).scalar_one_or_none()
    if content is None:
        raise StorageFailed("no lines", expected="an export that waits", where=f"job {job_id}")
    told = read_transcript(zlib.decompress(content).decode())
    _write_facts(connection, job_id, told)
    _write_events(connection, job_id, told)
    connection.execute(delete(imports).where(imports.c.job_id == job_id))
    _end(connection, job_id, told)


def _write_facts(connection: Connection, job_id: str, told: Transcript) -> None:
    rounds = [{"job_id": job_id, "number": r.number, "proposed": r.proposed} for r in told.rounds]
    insert_once(connection, iterations, *rounds)
    for exchange in told.exchanges:
        proposing.insert_exchange(connection, job_id, exchange)
    for candidate in told.candidates:
        proposing.insert_candidate(connection, job_id, candidate)
        _note_fitness(connection, job_id, candidate, told)
    for run in told.runs:
        results.insert_run(connection, job_id, run)
    for one in told.reports:
        place = {"job_id": job_id, "stage": one.stage, "arm": one.arm, "rung": one.rung}
        insert_once(connection, evaluations, {**place, "report": dump(one.report)})
    for table, records in (
        (feedback, told.feedback),
        (given, told.given),
        (remarks, told.remarks),
        (rollouts, told.rollouts),
    ):
        for record in records:
            row = {"job_id": job_id, **to_columns(table, dump_record(record))}
            insert_once(connection, table, row)


def _note_fitness(
    connection: Connection, job_id: str, candidate: Candidate, told: Transcript
) -> None:
    own = tuple(run for run in told.runs if (run.arm, run.stage) == (candidate.key, "search"))
    fitness = choosing.search_fitness(replace(candidate, runs=own))
    here = (candidates.c.iteration == candidate.iteration, candidates.c.number == candidate.number)
    changed = update(candidates).where(candidates.c.job_id == job_id, *here)
    connection.execute(changed.values(fitness=fitness))


def _write_events(connection: Connection, job_id: str, told: Transcript) -> None:
    """Put the events of the old job behind those of the new one, with their own times."""
    count = select(jobs.c.event_count).where(jobs.c.id == job_id)
    last = connection.execute(count).scalar_one()
    for seq, event in enumerate(told.events, start=last + 1):
        row: Mapping[str, Any] = {
            "job_id": job_id,
            "seq": seq,
            "kind": event.kind,
            "level": event.level,
            "message": event.message,
            "data": dict(event.data),
            "created_at": event.created_at,
        }
        connection.execute(insert(events).values(**clean_row("events", row)))
    set_job(connection, job_id, event_count=last + len(told.events))


def _end(connection: Connection, job_id: str, told: Transcript) -> None:
    head = told.head
    failure = head.failure
    set_job(
        connection,
        job_id,
        preflight=None if head.preflight is None else dump(head.preflight),
        outcome=None if head.outcome is None else dump(head.outcome),
        best_candidate=head.best_candidate,
        best_fitness=head.best_fitness,
        native_fitness=head.native_fitness,
        extensions=head.extensions,
        iteration=max((one.number for one in told.rounds), default=-1),
        env_steps=head.spent.env_steps,
        tokens=head.spent.tokens,
        money=head.spent.money,
        failure_reason=None if failure is None else failure.reason,
        failure_message=None if failure is None else failure.message,
        failure_data=None if failure is None else dict(failure.data),
    )
    append_event(connection, job_id, "job.imported", f"It came from job {head.id}.")
    job = lock_job(connection, job_id)
    transition(connection, job, head.status, "job.completed", _WORDS[head.status])
    moment = connection.execute(select(now())).scalar_one()
    began = _by_now(head.started_at or head.created_at, moment)
    ended = _by_now(head.finished_at or began, moment)
    times = {"started_at": began, "finished_at": ended, "rested_at": ended}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(**times))


def _by_now(told: datetime, moment: datetime) -> datetime:
    """Return a time that was told, but none to come: until then a job would be kept."""
    return min(told if told.tzinfo else told.replace(tzinfo=UTC), moment)
