"""Rows → records: jobs as they stand, alone and in lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias, cast

from sqlalchemy import Connection, bindparam, func, select

from core.records.history import Spent
from core.records.kinds import FINISHED, JobStatus
from core.records.measured import Preflight
from core.records.outcome import Outcome
from core.records.spec import JobSpec, Webhook
from core.storage.clock import now
from core.storage.codec import load
from core.storage.ids import no_such
from core.storage.stored import Failure, Page, StoredJob
from core.storage.tables import candidates, jobs

Row: TypeAlias = Mapping[str, Any]


def _both(query: Any) -> tuple[Any, Any]:
    """Return a query of one job, and the same for one owner's.

    Made once: nearly every request asks them, and to put one together costs more than to ask it.
    """
    one = query.where(jobs.c.id == bindparam("job_id"))
    return one, one.where(jobs.c.owner == bindparam("owner"))


STATUS = _both(select(jobs.c.status))
JOB = _both(select(jobs, now().label("now")))
COUNTS = (
    select(candidates.c.status, func.count().label("number"))
    .where(candidates.c.job_id == bindparam("job_id"))
    .group_by(candidates.c.status)
)


def _of_owner(
    queries: tuple[Any, Any], job_id: str, owner: str | None
) -> tuple[Any, Mapping[str, str]]:
    of_all, of_one = queries
    if owner is None:
        return of_all, {"job_id": job_id}
    return of_one, {"job_id": job_id, "owner": owner}


def check_job(connection: Connection, job_id: str, owner: str | None = None) -> None:
    """Make sure that a job exists, and that it is the owner's, if one is named.

    Raises:
        NotFound: no such job, or somebody else's: the answer is the same.
    """
    status(connection, job_id, owner)


def status(connection: Connection, job_id: str, owner: str | None = None) -> JobStatus:
    """Return a job's status.

    Raises:
        NotFound: as `check_job`.
    """
    query, given = _of_owner(STATUS, job_id, owner)
    found = connection.execute(query, given).first()
    if found is None:
        raise no_such("job", job_id)
    return cast("JobStatus", found.status)


def job_row(connection: Connection, job_id: str, owner: str | None = None) -> Row:
    """Return a job's row and the present time as `now`.

    Raises:
        NotFound: as `check_job`.
    """
    query, given = _of_owner(JOB, job_id, owner)
    found = read_rows(connection, query, given)
    if not found:
        raise no_such("job", job_id)
    return found[0]


def job(connection: Connection, job_id: str, owner: str | None = None) -> StoredJob:
    """Return a job as it stands.

    Raises:
        NotFound: as `check_job`.
    """
    row = job_row(connection, job_id, owner)
    # Before the first iteration there is nothing to count.
    counted = () if row["iteration"] < 0 else read_rows(connection, COUNTS, {"job_id": job_id})
    return job_from(row, counts_from(counted))


def jobs_page(
    connection: Connection,
    after: str | None,
    limit: int,
    status: str | None,
    task: str | None,
    owner: str | None = None,
) -> Page[StoredJob]:
    """Return jobs, newest first, those older than `after`; of one owner, if one is named."""
    query = select(jobs, now().label("now")).order_by(jobs.c.id.desc()).limit(limit + 1)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if after is not None:
        query = query.where(jobs.c.id < after)
    if status is not None:
        query = query.where(jobs.c.status == status)
    if task is not None:
        query = query.where(jobs.c.task == task)
    found = read_rows(connection, query)
    shown = found[:limit]
    counts = _counts(connection, [row["id"] for row in shown])
    return Page(tuple(job_from(row, counts[row["id"]]) for row in shown), len(found) > limit)


def open_jobs(
    connection: Connection,
    limit: int,
    status: str | None,
    task: str | None,
    labels: Mapping[str, str],
    owner: str | None = None,
) -> tuple[str, ...]:
    """Return ids of jobs that have not ended and whose end nobody asked for, oldest first."""
    query = select(jobs.c.id, jobs.c.labels).order_by(jobs.c.id)
    query = query.where(jobs.c.status.not_in(FINISHED), ~jobs.c.cancel_requested)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if status is not None:
        query = query.where(jobs.c.status == status)
    if task is not None:
        query = query.where(jobs.c.task == task)
    # Labels are compared here: a path into JSON cannot hold every name that a label may have.
    found = (row.id for row in connection.execute(query) if labels.items() <= row.labels.items())
    return tuple(islice(found, limit))


def _counts(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    columns = (candidates.c.job_id, candidates.c.status)
    query = select(*columns, func.count()).where(candidates.c.job_id.in_(ids)).group_by(*columns)
    counts: dict[str, dict[str, int]] = {job_id: {} for job_id in ids}
    for job_id, status, number in connection.execute(query):
        counts[job_id][status] = number
    return counts


def counts_from(rows: Sequence[Row]) -> dict[str, int]:
    """Return candidates by status, as COUNTS found them."""
    return {row["status"]: row["number"] for row in rows}


def job_from(row: Row, counts: Mapping[str, int]) -> StoredJob:
    """Return the job that a row of JOB tells of."""
    failure = None
    if row["failure_reason"] is not None:
        data = row["failure_data"] or {}
        failure = Failure(row["failure_reason"], row["failure_message"] or "", data)
    parts = {
        "spec": load(JobSpec, row["spec"]),
        "preflight": optional(Preflight, row["preflight"]),
        "outcome": optional(Outcome, row["outcome"]),
        "failure": failure,
        "webhook": optional(Webhook, row["webhook"]),
        "counts": counts,
        "spent": spent(row),
    }
    return load(StoredJob, {**row, **parts})


def spent(job: Row) -> Spent:
    """Return what a job, read by `job_row`, has used so far.

    Seconds count from its start, without the time in which it rested: paused, waiting for people, or at
    an end from which it went on.
    """
    seconds = 0.0
    if job["started_at"] is not None:
        end = job["rested_at"] or job["now"]
        seconds = max(0.0, (end - job["started_at"]).total_seconds() - job["idle_seconds"])
    return Spent(job["env_steps"], job["tokens"], seconds, job["money"])


def optional(kind: type[Any], data: object) -> Any:
    """Return the record, None where nothing is stored."""
    return None if data is None else load(kind, data)


def read_rows(
    connection: Connection, query: Any, given: Mapping[str, object] | None = None
) -> list[Row]:
    """Return the rows of a query, with what it leaves to be given, as dicts."""
    return [dict(row) for row in connection.execute(query, given or {}).mappings()]
