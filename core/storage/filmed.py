"""Rows → records: filmed episodes, and which bytes belong to a job."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, case, or_, select

from core.records.measured import Rollout
from core.storage.codec import from_columns, load
from core.storage.ids import no_such
from core.storage.job_reads import read_rows
from core.storage.stored import StoredArtifact, StoredRollout
from core.storage.tables import artifacts, imports, jobs, rollouts


def rollouts_of(
    connection: Connection, job_id: str, arm: str | None = None
) -> tuple[StoredRollout, ...]:
    """Return what was filmed of a job, of one arm if one is named, of its last confirmation first.

    Earlier confirmations are left out; what people judged in the search stays.
    """
    query = _ROLLOUTS if arm is None else _ROLLOUTS.where(rollouts.c.arm == arm)
    return tuple(
        StoredRollout(job_id, row["created_at"], load(Rollout, from_columns(row)))
        for row in read_rows(connection, query, {"job_id": job_id})
    )


_newest = select(jobs.c.extensions).where(jobs.c.id == bindparam("job_id")).scalar_subquery()
_confirmed = rollouts.c.stage == "confirm"
_ROLLOUTS = (
    select(rollouts)
    .where(rollouts.c.job_id == bindparam("job_id"))
    .where(or_(~_confirmed, rollouts.c.extension == _newest))
    .order_by(case((_confirmed, 0), else_=1), rollouts.c.arm, rollouts.c.episode)
)


def waits_to_be_taken_in(connection: Connection, job_id: str) -> bool:
    """Tell whether a job is an import whose lines no worker has taken in yet."""
    return connection.execute(_WAITS, {"job_id": job_id}).first() is not None


_WAITS = select(imports.c.job_id).where(imports.c.job_id == bindparam("job_id"))


def artifacts_of(connection: Connection, job_id: str) -> tuple[StoredArtifact, ...]:
    """Return the bytes that belong to a job, by kind and hash."""
    query = select(artifacts).where(artifacts.c.job_id == job_id)
    rows = read_rows(connection, query.order_by(artifacts.c.kind, artifacts.c.sha256))
    return tuple(load(StoredArtifact, row) for row in rows)


def artifact(connection: Connection, job_id: str, sha256: str) -> StoredArtifact:
    """Return that some bytes belong to a job.

    Raises:
        NotFound: they do not.
    """
    query = select(artifacts).where(artifacts.c.job_id == job_id, artifacts.c.sha256 == sha256)
    found = read_rows(connection, query)
    if not found:
        raise no_such("artifact", sha256)
    return load(StoredArtifact, found[0])
