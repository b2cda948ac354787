"""Programs of the user's, held to the rules at the door, so that what is wrong is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from api.errors import InvalidField, RefusedProgram
from api.schemas import StartBody
from core.errors import NotFound, ProgramRejected
from core.program import read_program
from core.records.kinds import Mode
from core.records.measured import Preflight
from core.records.people import Given
from core.records.spec import JobSpec
from core.records.task import Task
from core.storage import Store

# What can be told of a module whose fields are not known yet.
OF_TEXT = frozenset({"syntax", "size", "empty"})


def read_starts(
    store: Store, starts: Sequence[StartBody], task: Task, mode: Mode
) -> tuple[Given, ...]:
    """Return the programs that a job starts from.

    Raises:
        RefusedProgram: one of them breaks a rule.
        InvalidField: there is no such finished design.
    """
    return tuple(_start(store, body, place, task, mode) for place, body in enumerate(starts))


def _start(store: Store, body: StartBody, place: int, task: Task, mode: Mode) -> Given:
    if body.library is None:
        check_source(body.source or "", f"/start/{place}/source", task, mode)
        return Given(0, body.source or "", "user", note=body.note)
    pointer = f"/start/{place}/library"
    try:
        found = store.library.item(body.library)
    except NotFound as error:
        raise InvalidField(
            str(error),
            pointer=pointer,
            expected="the id of a job that ended with a design",
            hint="Search the library with GET /v1/library.",
        ) from error
    check_source(found.source, pointer, task, mode)
    note = body.note or f"The design of {found.job} for the task {found.task.name}."
    return Given(0, found.source, "library", note=note)


def check_source(source: str, pointer: str, task: Task, mode: Mode) -> None:
    """Hold a module to every rule that needs no execution.

    Where the task's fields are found out only by preflight, rules about names wait for the check in the
    sandbox.

    Raises:
        RefusedProgram: it breaks one; names the place in the body.
    """
    try:
        read_program(source, task.fields, mode, task.array)
    except ProgramRejected as error:
        if task.fields or error.rule in OF_TEXT:
            raise RefusedProgram(error, pointer) from error


def task_of(spec: JobSpec, preflight: Preflight | None) -> Task:
    """Return the task of a job with its fields as far as they are known."""
    return spec.task if preflight is None else replace(spec.task, fields=preflight.fields)
