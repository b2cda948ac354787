"""Writing what people hand in and say: programs of their own, and remarks.

Everything here happens on the connection of a transaction; the job's row is locked first, so that
numbers have no gaps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select

from core import searching
from core.budgets import overlong_plan
from core.errors import Conflict, InvalidInput, NotFound
from core.records.history import History
from core.records.kinds import FINISHED
from core.records.people import Given, Remark
from core.records.rounds import Candidate
from core.storage import reads
from core.storage.codec import dump_record, to_columns
from core.storage.facts import insert_once
from core.storage.lifecycle import (
    advice,
    append_event,
    hold_the_end,
    lock_job,
    renew_confirmation,
    transition,
)
from core.storage.requests import UNMARKED, Request, earlier
from core.storage.tables import given, remarks

MOST_REMARKS = 500  # of one job
MOST_GIVEN = 100


def add_given(
    connection: Connection,
    job_id: str,
    program: Given,
    request: Request = UNMARKED,
    most_steps: int | None = None,
) -> tuple[Given, bool]:
    """Store a program of the user's, under the job's next number, which it bears when it comes back.

    Also tells whether the same request had handed it in before.  A confirmation that has begun is not
    gone on with, as after an extension.

    Raises:
        NotFound: no such job, or no such parent.
        Conflict: the job is finished, its budget does not allow another program, or it has too many,
            was confirmed too often, or is an import that waits to be taken in.
        InvalidInput: the job would take more than `most_steps` environment steps.
        IdempotencyMismatch: the key was used with another body.
    """
    job = lock_job(connection, job_id)
    if (told := earlier(connection, job_id, "program.given", request)) is not None:
        return reads.given_of(connection, job_id)[told["number"]], True
    _check_taken_in(job)
    if job.status in FINISHED or job.cancel_requested:
        raise Conflict(
            f"Job {job_id} is {job.status} and takes no more programs.", hint=_after_the_end(job)
        )
    numbered = insert_given(connection, job_id, program, request)
    history = reads.history(connection, job_id)
    if program.parent is not None:
        _find(history, program.parent)
    hold_number(job_id, numbered.number, MOST_GIVEN, "programs of people's")
    hold_plan(history, most_steps)
    if searching.search_ended(history):
        raise Conflict(
            f"The budget ({searching.budget_exhausted(history)}) of job {job_id} does not allow "
            "another candidate.",
            hint="Raise it with `extend`, then hand the program in again.",
        )
    renew_confirmation(connection, job_id, history)
    hold_the_end(connection, job_id)
    return numbered, False


def insert_given(
    connection: Connection, job_id: str, program: Given, request: Request = UNMARKED
) -> Given:
    """Store a program under the next number of a locked job."""
    numbered = replace(program, number=_next(connection, given, job_id))
    insert_once(connection, given, {"job_id": job_id, **to_columns(given, dump_record(numbered))})
    details = {"number": numbered.number, "origin": program.origin, "parent": program.parent}
    told = {**details, **request.marks()}
    append_event(connection, job_id, "program.given", "A program was handed in.", told)
    return numbered


def add_remark(
    connection: Connection, job_id: str, remark: Remark, request: Request = UNMARKED
) -> tuple[Remark, bool]:
    """Store a remark under the job's next number; a job that waits for one goes on.

    Also tells whether the same request had left it before.

    Raises:
        NotFound: no such job, or no such candidate.
        InvalidInput: a candidate that never had a program is judged.
        Conflict: the job has too many remarks, or is an import that waits to be taken in.
        IdempotencyMismatch: the key was used with another body.
    """
    job = lock_job(connection, job_id)
    if (told := earlier(connection, job_id, "feedback.given", request)) is not None:
        return reads.remarks_of(connection, job_id)[told["number"]], True
    _check_taken_in(job)
    number = _next(connection, remarks, job_id)
    hold_number(job_id, number, MOST_REMARKS, "remarks")
    if remark.candidate is not None:
        _check_meant(reads.history(connection, job_id), remark)
    numbered = replace(remark, number=number, iteration=job.iteration)
    insert_once(
        connection, remarks, {"job_id": job_id, **to_columns(remarks, dump_record(numbered))}
    )
    details = {"number": number, "kind": remark.kind, "candidate": remark.candidate}
    told = {**details, **request.marks()}
    append_event(connection, job_id, "feedback.given", "Somebody left feedback.", told)
    if job.status == "awaiting_feedback":
        transition(connection, job, "running", "job.resumed", "Feedback came; the job goes on.")
    return numbered, False


def _check_taken_in(job: Row[Any]) -> None:
    """Refuse what would stand where an import has facts of its own, which nobody has taken in yet."""
    if job.origin is not None and job.status not in FINISHED:
        raise Conflict(
            f"Job {job.id} is an import, and no worker has taken it in yet.",
            hint="Wait until it has ended, as it had where it was exported.",
        )


def _check_meant(history: History, remark: Remark) -> None:
    for key in filter(None, (remark.candidate, remark.other)):
        candidate = _find(history, key)
        if remark.kind != "text" and candidate.program is None:
            raise InvalidInput(
                f"candidate {key}, which has no program ({candidate.rejection or 'not yet'})",
                expected="a candidate that has one",
                where=f"a {remark.kind}",
                hint="Say in words what you think of it, with the kind `text`.",
            )


def _find(history: History, key: str) -> Candidate:
    for iteration in history.iterations:
        for candidate in iteration.candidates:
            if candidate.key == key:
                return candidate
    raise NotFound(f"There is no candidate {key} in the job.")


def hold_number(job_id: str, number: int, most: int, what: str) -> None:
    """Make sure that a job does not have too many of something.

    Raises:
        Conflict: it has.
    """
    if number >= most:
        raise Conflict(
            f"Job {job_id} has {most} {what} already, and no job takes more.",
            hint="Fork the job, or submit a new one.",
        )


def hold_plan(history: History, most_steps: int | None) -> None:
    """Hold a job to what a new one may plan, with all that people handed in and asked for since.

    Raises:
        InvalidInput: it would take more environment steps.
    """
    if most_steps is None:
        return
    confirmations = 1 + history.extensions + bool(history.confirmations)
    planned = overlong_plan(history.spec, most_steps, len(history.given), confirmations)
    if planned is not None:
        raise InvalidInput(
            f"a plan of {planned:,}",
            expected=f"a job of at most {most_steps:,} environment steps",
            where="plan",
            hint="Ask for less, or fork the job with other settings.",
        )


def _after_the_end(job: Any) -> str:
    if job.status == "succeeded":
        return "Extend the job with the program in `start`, or fork it."
    return advice(job)


def _next(connection: Connection, table: Table, job_id: str) -> int:
    highest = select(func.max(table.c.number)).where(table.c.job_id == job_id)
    found = connection.execute(highest).scalar_one_or_none()
    return 0 if found is None else found + 1
