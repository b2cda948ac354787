"""A caller's way into the database: every question is one transaction, and sees what the caller may.

Raises StorageFailed where the database cannot be used.
"""

from __future__ import annotations

from typing import Self, TypeVar

from sqlalchemy import Connection, Engine

from core.errors import InvalidInput
from core.storage import job_reads
from core.storage.callers import Caller, introduce, note
from core.storage.engine import Work, reading, writing
from core.storage.ids import check_job_id

T = TypeVar("T")

LARGEST_PAGE = 1000


class Access:
    """What the store and its parts have in common; without a caller they see all owners' rows."""

    def __init__(self, engine: Engine, caller: Caller | None = None) -> None:
        self._engine = engine
        self._caller = caller
        self._owner = None if caller is None else caller.owner
        self._key_id = None if caller is None else caller.key_id

    def _of_all(self) -> Self:
        if self._caller is not None:
            raise RuntimeError("a question about all owners' rows needs a store bound to nobody")
        return self

    def _read(self, work: Work[T]) -> T:
        with reading(self._engine) as connection:
            introduce(connection, self._caller)
            return work(connection)

    def _write(self, work: Work[T]) -> T:
        def introduced(connection: Connection) -> T:
            introduce(connection, self._caller)
            return work(connection)

        return writing(self._engine, introduced)

    def _of_job(self, job_id: str, work: Work[T]) -> T:
        return self._read(self._checked(job_id, work))

    def _write_of(self, job_id: str, work: Work[T]) -> T:
        checked = self._checked(job_id, work)
        # Who writes locks the job's row first, and finds out by that whether there is one.
        return self._write(work if self._caller is None else checked)

    def _checked(self, job_id: str, work: Work[T]) -> Work[T]:
        """Return the work on a job, held to the caller's jobs."""
        check_job_id(job_id)

        def checked(connection: Connection) -> T:
            job_reads.check_job(connection, job_id, self._owner)
            return work(connection)

        return checked

    def _change(self, action: str, job_id: str, work: Work[T]) -> T:
        """Carry out what people asked for, and write down who it was."""

        def noted(connection: Connection) -> T:
            result = work(connection)
            note(connection, self._caller, f"jobs.{action}", job_id)
            return result

        return self._write_of(job_id, noted)


def check_limit(limit: int) -> None:
    """Make sure that a page is no larger than a page may be.

    Raises:
        InvalidInput: it is.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidInput(f"{limit}", expected=f"1 to {LARGEST_PAGE}", where="limit")
