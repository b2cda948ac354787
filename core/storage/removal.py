"""Deleting a job with all it owns: its rows at once, its files a little later.

The transaction that deletes the rows notes which files were theirs, and so does one that supersedes
what was saved of a run under way.  Workers remove those that no row refers to any more: the web server
may not see other owners' rows, so it cannot tell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, or_, select, tuple_

from core.errors import Conflict
from core.records.kinds import FINISHED
from core.storage.access import Access
from core.storage.clock import now
from core.storage.facts import INSERT
from core.storage.lifecycle import lock_job
from core.storage.tables import artifacts, discarded, jobs, saved

AT_ONCE = 500
SAVED_FILES = (saved.c.checkpoint, saved.c.more["snapshots"].label("snapshots"))


class Leftovers(Access):
    """Which files were noted for removal, and which jobs are to be deleted; for workers."""

    def ended_before(self, days: float) -> tuple[str, ...]:
        """Return ids of jobs that ended more than that many days ago, a few hundred at most."""
        return self._of_all()._read(lambda c: ended_before(c, days))

    def expire(self, job_id: str, days: float) -> bool:
        """Delete a job that ended more than that many days ago; tell whether it did.

        Raises:
            NotFound: no such job.
        """
        return self._of_all()._write(lambda c: expire(c, job_id, days))

    def discarded(self, after: str = "") -> Mapping[str, datetime]:
        """Return which files were noted for removal, and when, by hash, a few hundred at most."""
        return self._of_all()._read(lambda c: waiting(c, after))

    def in_use(self, hashes: Collection[str]) -> frozenset[str]:
        """Return those of the hashes that a row of some job refers to."""
        return self._of_all()._read(lambda c: in_use(c, hashes))

    def forget(self, noted: Mapping[str, datetime]) -> None:
        """Note that files wait no longer, but for those that were noted again since `discarded`."""
        self._of_all()._write(lambda c: forget(c, noted))


def delete_job(connection: Connection, job_id: str) -> None:
    """Delete a job and every row that belongs to it, and note its files for removal.

    Raises:
        NotFound: no such job.
        Conflict: it has not ended.
    """
    job = lock_job(connection, job_id)
    if job.status not in FINISHED:
        raise Conflict(
            f"Job {job_id} is {job.status}; only a job that has ended can be deleted.",
            hint="It is being cancelled; wait for its end."
            if job.cancel_requested
            else "Cancel it, wait for its end, and delete it then.",
        )
    noted = select(artifacts.c.sha256).where(artifacts.c.job_id == job_id)
    under_way = select(*SAVED_FILES).where(saved.c.job_id == job_id)
    files = saved_files(connection.execute(under_way))
    discard(connection, files.union(connection.execute(noted).scalars()))
    connection.execute(delete(jobs).where(jobs.c.id == job_id))


def discard(connection: Connection, hashes: Iterable[str]) -> None:
    """Note files for removal, should no row refer to them any more.

    What is noted already is noted anew: whoever looks at the old note may have found the file in use.
    """
    # In order, so that two transactions with files in common do not wait for each other.
    rows = [{"sha256": sha256} for sha256 in sorted(set(hashes))]
    if rows:
        connection.execute(_noting(connection.dialect.name), rows)


@cache
def _noting(dialect: str) -> Any:
    insert = INSERT[dialect](discarded).values(created_at=now())
    return insert.on_conflict_do_update(index_elements=["sha256"], set_={"created_at": now()})


def saved_files(rows: Iterable[Row[Any]]) -> frozenset[str]:
    """Return the hashes that rows of SAVED_FILES name: checkpoints, and snapshots for scoring."""
    named = ((row.checkpoint, *(sha256 for _, sha256 in row.snapshots or ())) for row in rows)
    return frozenset(sha256 for files in named for sha256 in files if sha256)


def ended_before(connection: Connection, days: float) -> tuple[str, ...]:
    """Return ids of jobs that ended more than that many days ago, oldest first."""
    query = select(jobs.c.id).where(*_over(days)).order_by(jobs.c.id).limit(AT_ONCE)
    return tuple(connection.execute(query).scalars())


def expire(connection: Connection, job_id: str, days: float) -> bool:
    """Delete a job that ended more than that many days ago; tell whether it did.

    It may have gone on, and ended again, since somebody found that it had.

    Raises:
        NotFound: no such job.
    """
    lock_job(connection, job_id)
    query = select(jobs.c.id).where(jobs.c.id == job_id, *_over(days))
    if connection.execute(query).first() is None:
        return False
    delete_job(connection, job_id)
    return True


def _over(days: float) -> tuple[ColumnElement[bool], ...]:
    since = now(-days * 86_400.0)
    # An imported job may have ended years before it came here, where nobody has seen it yet.
    here = or_(jobs.c.origin.is_(None), jobs.c.created_at < since)
    return jobs.c.status.in_(FINISHED), jobs.c.finished_at < since, here


def waiting(connection: Connection, after: str = "") -> dict[str, datetime]:
    """Return which files were noted for removal, and when, by hash, in order, those after one."""
    query = select(discarded.c.sha256, discarded.c.created_at).where(discarded.c.sha256 > after)
    found = connection.execute(query.order_by(discarded.c.sha256).limit(AT_ONCE))
    return {row.sha256: row.created_at for row in found}


def in_use(connection: Connection, hashes: Collection[str]) -> frozenset[str]:
    """Return those of the hashes that a row of some job refers to."""
    noted = select(artifacts.c.sha256).where(artifacts.c.sha256.in_(list(hashes)))
    under_way = saved_files(connection.execute(select(*SAVED_FILES)))
    return under_way.intersection(hashes).union(connection.execute(noted).scalars())


def forget(connection: Connection, noted: Mapping[str, datetime]) -> None:
    """Note that files wait no longer: they are gone, or in use again; not if noted again since."""
    known = tuple_(discarded.c.sha256, discarded.c.created_at).in_(list(noted.items()))
    connection.execute(delete(discarded).where(known))
