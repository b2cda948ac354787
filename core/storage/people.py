"""Writing what people hand in and say: programs of their own, and remarks.

Everything here happens on the connection of a transaction; the job's row is locked first, so that
numbers have no gaps.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, Table, func, select

from core.errors import Conflict
from core.records import FINISHED, Given, Remark
from core.storage.codec import dump_record, to_columns
from core.storage.facts import insert_once
from core.storage.lifecycle import append_event, lock_job, transition
from core.storage.tables import given, remarks


def add_given(connection: Connection, job_id: str, program: Given) -> Given:
    """Store a program of the user's, under the job's next number, which it bears when it comes back.

    Raises:
        NotFound: no such job.
        Conflict: the job is finished.
    """
    job = lock_job(connection, job_id)
    if job.status in FINISHED:
        raise Conflict(
            f"Job {job_id} is {job.status} and takes no more programs.",
            hint="Extend or fork the job, or submit a new one that starts from the program.",
        )
    numbered = replace(program, number=_next(connection, given, job_id))
    insert_once(connection, given, {"job_id": job_id, **to_columns(given, dump_record(numbered))})
    details = {"number": numbered.number, "origin": program.origin, "parent": program.parent}
    append_event(connection, job_id, "program.given", "A program was handed in.", details)
    return numbered


def add_remark(connection: Connection, job_id: str, remark: Remark) -> Remark:
    """Store a remark under the job's next number; a job that waits for one goes on.

    Raises:
        NotFound: no such job.
    """
    job = lock_job(connection, job_id)
    number = _next(connection, remarks, job_id)
    numbered = replace(remark, number=number, iteration=job.iteration)
    insert_once(
        connection, remarks, {"job_id": job_id, **to_columns(remarks, dump_record(numbered))}
    )
    details = {"number": number, "kind": remark.kind, "candidate": remark.candidate}
    append_event(connection, job_id, "feedback.given", "Somebody left feedback.", details)
    if job.status == "awaiting_feedback":
        transition(connection, job, "running", "job.resumed", "Feedback came; the job goes on.")
    return numbered


def _next(connection: Connection, table: Table, job_id: str) -> int:
    highest = select(func.max(table.c.number)).where(table.c.job_id == job_id)
    found = connection.execute(highest).scalar_one_or_none()
    return 0 if found is None else found + 1
