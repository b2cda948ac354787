"""A job's life: its states, the only function that changes them, and the events that tell of it.

    queued ⇄ running ⇄ paused          any of them → cancelled
    running ⇄ awaiting_feedback → paused
    queued, running → failed            running → succeeded
    succeeded, failed → queued          extended
    failed, cancelled → queued          retried

Everything here happens on the connection of a transaction that has locked the job's row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from core import seeding
from core.errors import Conflict
from core.loop import Finish, step_key
from core.ports import News
from core.records.history import History
from core.records.kinds import FINISHED, JobStatus, Json
from core.storage.clean import clean_row
from core.storage.clock import now
from core.storage.deliveries import TOLD, enqueue
from core.storage.ids import no_such
from core.storage.tables import claims, events, jobs

ALLOWED: Mapping[JobStatus, frozenset[JobStatus]] = {
    "queued": frozenset({"running", "paused", "failed", "cancelled"}),
    "running": frozenset({"awaiting_feedback", "paused", "succeeded", "failed", "cancelled"}),
    "awaiting_feedback": frozenset({"running", "paused", "cancelled"}),
    "paused": frozenset({"queued", "running", "cancelled"}),
    "succeeded": frozenset({"queued"}),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
}

POSSIBLE: Mapping[str, str] = {
    "cancel": "queued, running, awaiting feedback or paused",
    "pause": "queued, running or awaiting feedback",
    "resume": "paused",
    "retry": "failed or cancelled",
    "extend": "not failed or cancelled, unless it failed because no candidate could be used",
}
WORKED_ON = ("queued", "running")

_HELD = (
    jobs.c.id,
    jobs.c.status,
    jobs.c.phase,
    jobs.c.cancel_requested,
    jobs.c.pause_requested,
    jobs.c.started_at,
    jobs.c.rested_at,
    jobs.c.failure_reason,
    jobs.c.origin,
    jobs.c.fence_count,
    jobs.c.iteration,
    jobs.c.best_candidate,
)
# On SQLite the whole database is locked already, by BEGIN IMMEDIATE.
_LOCKED = select(*_HELD).where(jobs.c.id == bindparam("job_id")).with_for_update()


def lock_job(connection: Connection, job_id: str) -> Row[Any]:
    """Lock a job's row until the transaction ends, and return its standing.

    Raises:
        NotFound: no such job.
    """
    row = connection.execute(_LOCKED, {"job_id": job_id}).first()
    if row is None:
        raise no_such("job", job_id)
    return cast("Row[Any]", row)


def append_event(
    connection: Connection,
    job_id: str,
    kind: str,
    message: str,
    data: Json | None = None,
    level: str = "info",
) -> None:
    """Write an event under the job's next number, with the fence of the claim that was held."""
    append_events(connection, job_id, [News(kind, message, data or {}, level)])


def append_once(
    connection: Connection,
    job_id: str,
    kind: str,
    message: str,
    data: Json | None = None,
    level: str = "info",
) -> None:
    """Write an event unless one of its kind tells the same data: whoever told it may have vanished."""
    told = select(events.c.data).where(events.c.job_id == job_id, events.c.kind == kind)
    if (data or {}) not in connection.execute(told).scalars().all():
        append_event(connection, job_id, kind, message, data, level)


def append_events(connection: Connection, job_id: str, news: Sequence[News]) -> None:
    """Write events under the job's next numbers, in their order."""
    if not news:
        return
    counted = update(jobs).where(jobs.c.id == job_id)
    counted = counted.values(event_count=jobs.c.event_count + len(news))
    last = connection.execute(counted.returning(jobs.c.event_count)).scalar_one()
    first = last - len(news) + 1
    _insert_events(connection, [(seq, one) for seq, one in enumerate(news, first)], job_id)


def add_event(
    connection: Connection,
    job_id: str,
    seq: int,
    kind: str,
    message: str,
    data: Json | None = None,
    level: str = "info",
) -> None:
    """Write an event under a number that the caller has seen to."""
    _insert_events(connection, [(seq, News(kind, message, data or {}, level))], job_id)


def _insert_events(
    connection: Connection, numbered: Sequence[tuple[int, News]], job_id: str
) -> None:
    rows = [event_row(job_id, seq, n.kind, n.message, n.data, n.level) for seq, n in numbered]
    if (fence := connection.get_execution_options().get("fence")) is not None:
        rows = [{**row, "fence": fence} for row in rows]
    connection.execute(EVENT, rows)
    for seq, one in numbered:
        if one.kind in TOLD:
            enqueue(connection, job_id, one.kind, seq)


def event_row(
    job_id: str,
    seq: int,
    kind: str,
    message: str,
    data: Json | None = None,
    level: str = "info",
) -> dict[str, object]:
    """Return the row of an event, fit to be stored."""
    row = {"job_id": job_id, "seq": seq, "kind": kind, "level": level, "message": message}
    return clean_row("events", {**row, "data": dict(data or {})})


EVENT = insert(events).values(created_at=now())


def set_job(connection: Connection, job_id: str, **values: object) -> None:
    """Write columns of a job's row."""
    row = clean_row("jobs", values)
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(**row))


def transition(
    connection: Connection,
    job: Row[Any],
    to: JobStatus,
    kind: str,
    message: str,
    data: Json | None = None,
) -> None:
    """Move a locked job to another status and write the event of it.

    A job that is not open any more has no claims: whoever still works on it writes nothing.

    Raises:
        Conflict: the status does not allow it.
    """
    if to not in ALLOWED[job.status]:
        raise Conflict(f"Job {job.id} is {job.status} and cannot become {to}.", hint=advice(job))
    changes = update(jobs).where(jobs.c.id == job.id, jobs.c.status == job.status)
    changes = changes.values(status=to)
    if to == "running" and job.started_at is None:
        changes = changes.values(started_at=now())
    moment = connection.execute(select(now())).scalar_one()
    changes = changes.values(finished_at=moment if to in FINISHED else None)
    connection.execute(changes.values(**_rest(job, to, moment)))
    if to not in WORKED_ON:
        end_claims(connection, job.id)
    details = {"from": job.status, "status": to, **(data or {})}
    append_event(connection, job.id, kind, message, details)


def _rest(job: Row[Any], to: JobStatus, moment: datetime) -> dict[str, Any]:
    """Count the time in which nobody may work on a job apart: it is not spent."""
    if to not in WORKED_ON:
        return {"rested_at": job.rested_at or moment}
    if job.rested_at is None or job.started_at is None:
        return {"rested_at": None}
    seconds = max(0.0, (moment - job.rested_at).total_seconds())
    return {"rested_at": None, "idle_seconds": jobs.c.idle_seconds + seconds}


NOBODY: Mapping[str, None] = dict.fromkeys(("owner", "expires_at", "offered_until"))
"""What a step has that nobody works on; its fence stays that of whoever had it last."""


def end_claims(connection: Connection, job_id: str) -> None:
    """Take every step of a job from its owner; once the job goes on, each may be announced at once."""
    connection.execute(update(claims).where(claims.c.job_id == job_id).values(**NOBODY))


def hold_the_end(connection: Connection, job_id: str) -> None:
    """Take the last step from its owner, who decided on facts that hold no more."""
    last = (claims.c.job_id == job_id, claims.c.step_key == step_key(Finish()))
    connection.execute(update(claims).where(*last).values(**NOBODY))


def renew_confirmation(connection: Connection, job_id: str, history: History) -> None:
    """Put fresh seeds in the place of those of a confirmation that has begun.

    Whoever lets the search go on has seen how it comes out.

    Raises:
        Conflict: there are no more.
    """
    if not history.confirmations:
        return
    if history.extensions >= seeding.MOST_EXTENSIONS:
        raise Conflict(
            f"Job {job_id} was confirmed {1 + history.extensions} times, and no seeds are left that it "
            "has not seen.",
            hint="Fork the job with another `seed`.",
        )
    times = 2 + history.extensions
    set_job(connection, job_id, extensions=times - 1)
    message = (
        "A confirmation had begun: everything is confirmed again, on seeds that nobody has seen, and "
        f"the verdict asks for a clearer difference: its threshold is divided by {times}."
    )
    append_event(connection, job_id, "confirmation.renewed", message, {"confirmations": times})


def settle(connection: Connection, job_id: str) -> None:
    """Cancel or pause a locked job as it was asked for, once nobody works on it any more."""
    job = lock_job(connection, job_id)
    wished = job.cancel_requested or job.pause_requested
    if not wished or job.status in FINISHED or _worked_on(connection, job_id):
        return
    if job.cancel_requested:
        transition(connection, job, "cancelled", "job.completed", "The job was cancelled.")
    elif job.status != "paused":
        # `pause_requested` stays until the job is resumed: the loop reads it.
        transition(connection, job, "paused", "job.paused", "The job is paused.")


def _worked_on(connection: Connection, job_id: str) -> bool:
    living = select(claims.c.step_key).where(claims.c.job_id == job_id, claims.c.expires_at > now())
    return connection.execute(living.limit(1)).first() is not None


# --- what people ask for ----------------------------------------------------------------------


def request_cancel(connection: Connection, job_id: str) -> None:
    """Ask for a job's end; asking twice is asking once.

    Raises:
        NotFound: no such job.
        Conflict: it succeeded or failed already.
    """
    job = lock_job(connection, job_id)
    if job.status == "cancelled" or (job.cancel_requested and job.status not in FINISHED):
        return settle(connection, job_id)
    if job.status in FINISHED:
        raise not_now(job, "cancel")
    set_job(connection, job_id, cancel_requested=True)
    append_event(connection, job_id, "log", "Cancellation was requested.")
    settle(connection, job_id)


def request_pause(connection: Connection, job_id: str) -> None:
    """Ask a job to rest after the work under way was stopped.

    Raises:
        NotFound: no such job.
        Conflict: it is finished or being cancelled.
    """
    job = lock_job(connection, job_id)
    if job.status in FINISHED or job.cancel_requested:
        raise not_now(job, "pause")
    if job.status == "paused" or job.pause_requested:
        return settle(connection, job_id)
    set_job(connection, job_id, pause_requested=True)
    append_event(connection, job_id, "log", "A pause was requested.")
    settle(connection, job_id)


def resume(connection: Connection, job_id: str) -> None:
    """Let a paused job go on, or withdraw a pause that has not come about yet; no step of it rests on.

    Raises:
        NotFound: no such job.
        Conflict: it is finished or being cancelled.
    """
    job = lock_job(connection, job_id)
    if job.status in FINISHED or job.cancel_requested:
        raise not_now(job, "resume")
    if job.status == "paused":
        to: JobStatus = "queued" if job.started_at is None else "running"
        transition(connection, job, to, "job.resumed", "The job goes on.")
    elif job.pause_requested:
        append_event(connection, job_id, "log", "The pause was withdrawn.")
    set_job(connection, job_id, pause_requested=False)
    # Whoever resumes a job has mended what a step waits for, or will not wait a day for it.  How often
    # a step broke, and how many owners vanished with it, stays counted.
    rested = update(claims).where(claims.c.job_id == job_id)
    connection.execute(rested.values(resting_until=None, resting_reason=None))


def not_now(job: Row[Any], wish: str) -> Conflict:
    """Return the refusal of a wish, with what is possible instead."""
    found = f"{wish} is possible while a job is {POSSIBLE[wish]}; job {job.id} is {_standing(job)}."
    return Conflict(found, hint=advice(job))


def advice(job: Row[Any]) -> str:
    """Say what can be asked of a job as it stands."""
    if job.status in FINISHED:
        again = "Extend" if job.status == "succeeded" else "Retry"
        return f"{again} or fork the job, or submit a new one."
    if job.cancel_requested:
        return "It is being cancelled; wait for its end."
    return f"Allowed now: {'resume' if job.status == 'paused' else 'pause'} or cancel."


def _standing(job: Row[Any]) -> str:
    return "being cancelled" if job.cancel_requested and job.status not in FINISHED else job.status
