"""What lists show of many candidates and jobs at once: no programs, no reports, few queries.

A job of hundreds of candidates is looked at again and again while it runs; reading every program for
that would take most of a second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sqlalchemy import Connection, Select, func, or_, select

from core.records.kinds import FINISHED, CandidateStatus, Operator
from core.records.rounds import Feedback
from core.storage.access import Access, check_limit
from core.storage.clock import now
from core.storage.codec import from_columns, load
from core.storage.job_reads import read_rows
from core.storage.stored import Queued
from core.storage.tables import candidates, claims, events, feedback, jobs


@dataclass(frozen=True, slots=True)
class Glance:
    """Where a candidate stands.

    Attributes:
        fitness: in the search, at the highest rung it reached; None before it was measured.
        parents: keys of the candidates that it was made from.
    """

    iteration: int
    number: int
    operator: Operator
    status: CandidateStatus
    fitness: float | None
    rejection: str | None
    parents: tuple[str, ...]

    @property
    def key(self) -> str:
        """Its natural key inside its job, such as "0.3"."""
        return f"{self.iteration}.{self.number}"


class Glances(Access):
    """What lists and pages show at a glance."""

    def candidates(self, job_id: str) -> tuple[Glance, ...]:
        """Return where each candidate of a job stands, without programs and reports.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: glances(c, job_id))

    def told(self, job_id: str) -> tuple[Feedback, ...]:
        """Return what the designer was told after each iteration.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: told(c, job_id))

    def last_words(self, job_id: str, kind: str) -> str | None:
        """Return the message of a job's newest event of a kind; None without one.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: last_words(c, job_id, kind))

    def best_so_far(self, job_ids: Sequence[str]) -> Mapping[str, tuple[float, ...]]:
        """Return the best fitness up to each measured iteration, of those jobs that are there."""
        return self._read(lambda c: best_so_far(c, job_ids, self._owner))

    def waiting(self, limit: int) -> tuple[Queued, ...]:
        """Return jobs that have not ended, the oldest first, without what they are.

        Raises:
            InvalidInput: `limit` is out of range.
        """
        check_limit(limit)
        return self._read(lambda c: waiting(c, limit, self._owner))

    def resting(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        """Return why a step of a job rests, of those jobs of which one does."""
        return self._read(lambda c: resting(c, job_ids, self._owner))

    def announced(self, job_ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the keys of the steps of jobs that were announced, and that nobody carries out."""
        return self._read(lambda c: announced(c, job_ids, self._owner))


def glances(connection: Connection, job_id: str) -> tuple[Glance, ...]:
    """Return where each candidate of a job stands, in order of their natural key."""
    c = candidates.c
    columns = (c.iteration, c.number, c.operator, c.status, c.fitness, c.rejection)
    query = select(*columns, c.more["parents"].label("parents")).where(c.job_id == job_id)
    rows = connection.execute(query.order_by(c.iteration, c.number))
    return tuple(Glance(*row[:-1], tuple(row[-1] or ())) for row in rows)


def best_so_far(
    connection: Connection, job_ids: Sequence[str], owner: str | None = None
) -> Mapping[str, tuple[float, ...]]:
    """Return the best fitness up to each iteration in which something was measured, by job."""
    c = candidates.c
    query = select(c.job_id, func.max(c.fitness)).where(c.job_id.in_(_own(job_ids, owner)))
    query = query.where(c.fitness.is_not(None)).group_by(c.job_id, c.iteration)
    found: dict[str, list[float]] = defaultdict(list)
    for job_id, fitness in connection.execute(query.order_by(c.job_id, c.iteration)):
        found[job_id].append(fitness)
    return {job_id: tuple(accumulate(values, max)) for job_id, values in found.items()}


def waiting(connection: Connection, limit: int, owner: str | None = None) -> tuple[Queued, ...]:
    """Return jobs that have not ended, the oldest first; of one owner, if one is named."""
    j = jobs.c
    query = select(j.id, j.name, j.status, j.phase, j.created_at).where(j.status.not_in(FINISHED))
    if owner is not None:
        query = query.where(j.owner == owner)
    return tuple(Queued(*row) for row in connection.execute(query.order_by(j.id).limit(limit)))


def resting(
    connection: Connection, job_ids: Sequence[str], owner: str | None = None
) -> Mapping[str, str]:
    """Return why a step of each job rests, of those jobs of which one does."""
    own = claims.c.job_id.in_(_own(job_ids, owner))
    query = select(claims.c.job_id, claims.c.resting_reason).where(own)
    rows = connection.execute(query.where(claims.c.resting_until > now()))
    return {job_id: reason for job_id, reason in rows if reason}


def announced(
    connection: Connection, job_ids: Sequence[str], owner: str | None = None
) -> Mapping[str, tuple[str, ...]]:
    """Return the keys of the steps of each job that were announced, and that nobody carries out."""
    c = claims.c
    query = select(c.job_id, c.step_key).where(c.job_id.in_(_own(job_ids, owner)))
    query = query.where(c.offered_until.is_not(None))
    query = query.where(or_(c.expires_at.is_(None), c.expires_at <= now()))
    found: dict[str, list[str]] = defaultdict(list)
    for job_id, step_key in connection.execute(query.order_by(c.job_id, c.step_key)):
        found[job_id].append(step_key)
    return {job_id: tuple(keys) for job_id, keys in found.items()}


def _own(job_ids: Sequence[str], owner: str | None) -> Select[tuple[str]]:
    query = select(jobs.c.id).where(jobs.c.id.in_(job_ids))
    return query if owner is None else query.where(jobs.c.owner == owner)


def told(connection: Connection, job_id: str) -> tuple[Feedback, ...]:
    """Return what the designer was told after each iteration, in order."""
    query = select(feedback).where(feedback.c.job_id == job_id).order_by(feedback.c.iteration)
    return tuple(load(Feedback, from_columns(row)) for row in read_rows(connection, query))


def last_words(connection: Connection, job_id: str, kind: str) -> str | None:
    """Return the message of a job's newest event of a kind; None without one."""
    query = select(events.c.message).where(events.c.job_id == job_id, events.c.kind == kind)
    found: str | None = connection.execute(query.order_by(events.c.seq.desc()).limit(1)).scalar()
    return found
