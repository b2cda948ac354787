"""Rows → records: jobs as they stand, alone and in lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, func, select

from core.records import JobSpec, Outcome, Preflight, Spent, Webhook
from core.storage.clock import now
from core.storage.codec import load
from core.storage.ids import no_such
from core.storage.stored import Failure, Page, StoredJob
from core.storage.tables import candidates, jobs

Row: TypeAlias = Mapping[str, Any]


def check_job(connection: Connection, job_id: str, owner: str | None = None) -> None:
    """Make sure that a job exists, and that it is the owner's, if one is named.

    Raises:
        NotFound: no such job, or somebody else's: the answer is the same.
    """
    query = select(jobs.c.id).where(jobs.c.id == job_id)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if connection.execute(query).first() is None:
        raise no_such("job", job_id)


def job_row(connection: Connection, job_id: str, owner: str | None = None) -> Row:
    """Return a job's row and the present time as `now`.

    Raises:
        NotFound: as `check_job`.
    """
    query = select(jobs, now().label("now")).where(jobs.c.id == job_id)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    found = read_rows(connection, query)
    if not found:
        raise no_such("job", job_id)
    return found[0]


def job(connection: Connection, job_id: str, owner: str | None = None) -> StoredJob:
    """Return a job as it stands.

    Raises:
        NotFound: as `check_job`.
    """
    row = job_row(connection, job_id, owner)
    return _job_from(row, _counts(connection, [job_id])[job_id])


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
    return Page(tuple(_job_from(row, counts[row["id"]]) for row in shown), len(found) > limit)


def _counts(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    columns = (candidates.c.job_id, candidates.c.status)
    query = select(*columns, func.count()).where(candidates.c.job_id.in_(ids)).group_by(*columns)
    counts: dict[str, dict[str, int]] = {job_id: {} for job_id in ids}
    for job_id, status, number in connection.execute(query):
        counts[job_id][status] = number
    return counts


def _job_from(row: Row, counts: Mapping[str, int]) -> StoredJob:
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


def read_rows(connection: Connection, query: Any) -> list[Row]:
    """Return the rows of a query as dicts."""
    return [dict(row) for row in connection.execute(query).mappings()]
