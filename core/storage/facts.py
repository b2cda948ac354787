"""Writing facts: each once, under its natural key, with the event that tells of it.

Everything here happens on the connection of a transaction that has locked the job's row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import NotFound
from core.ports import News
from core.records.asking import Example
from core.records.kinds import NATIVE, Json
from core.records.measured import Preflight, Rollout
from core.records.outcome import Outcome
from core.records.people import Remark
from core.records.rounds import Feedback
from core.storage.clean import clean_row
from core.storage.clock import now
from core.storage.codec import dump, dump_record, from_columns, load, to_columns
from core.storage.lifecycle import (
    append_event,
    append_events,
    lock_job,
    set_job,
    transition,
)
from core.storage.tables import (
    artifacts,
    candidates,
    feedback,
    iterations,
    jobs,
    remarks,
    rollouts,
)

INSERT: dict[str, Callable[[Table], Any]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


def insert_once(connection: Connection, table: Table, *rows: Mapping[str, object]) -> bool:
    """Insert rows of one table, those that are not there yet; tell whether any was new.

    Raises:
        InvalidInput: a number is not finite.
    """
    return len(insert_new(connection, table, rows)) > 0


def insert_new(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]
) -> set[tuple[Any, ...]]:
    """Insert rows of one table, those that are not there yet; return the keys of these.

    Raises:
        InvalidInput: a number is not finite.
    """
    if not rows:
        return set()
    written = [clean_row(table.name, row) for row in rows]
    fresh = connection.execute(_inserting(connection.dialect.name, table), written).all()
    return {tuple(key) for key in fresh}


@cache
def _inserting(dialect: str, table: Table) -> Any:
    """Return the statement of `insert_new`; with the rows within it it is compiled every time."""
    statement = INSERT[dialect](table).on_conflict_do_nothing().returning(*table.primary_key)
    return statement.values(created_at=now()) if "created_at" in table.c else statement


def note_artifacts(
    connection: Connection, job_id: str, kind: str, hashes: Iterable[str | None]
) -> None:
    """Note which stored bytes belong to a job."""
    known = dict.fromkeys(sha256 for sha256 in hashes if sha256)
    rows = [{"job_id": job_id, "sha256": sha256, "kind": kind} for sha256 in known]
    insert_once(connection, artifacts, *rows)


def add_preflight(
    connection: Connection, job_id: str, preflight: Preflight, told: Sequence[News] = ()
) -> None:
    """Store what preflight found, and tell of it, unless it is known."""
    known = select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.preflight.is_not(None))
    if connection.execute(known).first():
        return
    set_job(connection, job_id, preflight=dump(preflight))
    note_artifacts(connection, job_id, "probe", [preflight.probe, preflight.recording])
    found = {
        "adapter": preflight.adapter,
        "steps_per_second": preflight.steps_per_second,
        "random_fitness": preflight.random_fitness,
        "warnings": preflight.warnings,
    }
    append_event(connection, job_id, "preflight.completed", "The environment is usable.", found)
    append_events(connection, job_id, told)


def add_examples(connection: Connection, job_id: str, examples: Sequence[Example]) -> None:
    """Store which finished designs a job's prompts show, unless they were chosen before."""
    chosen = update(jobs).where(jobs.c.id == job_id, jobs.c.examples.is_(None))
    data = [dump(example) for example in examples]
    if connection.execute(chosen.values(examples=data)).rowcount == 0:
        return
    names = ", ".join(example.task for example in examples) or "none"
    details = {"jobs": [example.job for example in examples]}
    message = f"Finished designs that prompts show: {names}."
    append_event(connection, job_id, "examples.chosen", message, details)


# --- iterations -------------------------------------------------------------------------------


def open_iteration(connection: Connection, job_id: str, number: int) -> None:
    """Make sure that an iteration has its row."""
    row = {"job_id": job_id, "number": number, "proposed": False}
    if insert_once(connection, iterations, row):
        newest = select(func.max(iterations.c.number)).where(iterations.c.job_id == job_id)
        changed = update(jobs).where(jobs.c.id == job_id)
        connection.execute(changed.values(iteration=newest.scalar_subquery()))


# --- closing ----------------------------------------------------------------------------------


def add_feedback(
    connection: Connection, job_id: str, taught: Feedback, told: Sequence[News] = ()
) -> None:
    """Store what an iteration taught, and close it, after what is told of its end."""
    open_iteration(connection, job_id, taught.iteration)
    row = to_columns(feedback, dump_record(taught))
    if not insert_once(connection, feedback, {"job_id": job_id, **row}):
        return
    append_events(connection, job_id, told)
    details = {"iteration": taught.iteration, "best": taught.best, "diagnoses": taught.diagnoses}
    message = f"Iteration {taught.iteration} is complete."
    append_event(connection, job_id, "iteration.completed", message, details)


def add_rollouts(connection: Connection, job_id: str, filmed: Sequence[Rollout]) -> None:
    """Store filmed episodes, those without a video as well, and tell of each."""
    for one in filmed:
        row = to_columns(rollouts, dump_record(one))
        if not insert_once(connection, rollouts, {"job_id": job_id, **row}):
            continue
        files = [one.video, one.preview, one.trace, one.recording]
        note_artifacts(connection, job_id, "rollout", files)
        _tell_of_rollout(connection, job_id, one)


def _tell_of_rollout(connection: Connection, job_id: str, one: Rollout) -> None:
    details = {"arm": one.arm, "episode": one.episode, "video": one.video, "reason": one.failure}
    name = "the native reward" if one.arm == NATIVE else f"candidate {one.arm}"
    if one.failure is not None:
        message = f"Episode {one.episode} of {name} has no video: {one.failure}"
        append_event(connection, job_id, "rollout.failed", message, details, "warning")
        return
    message = f"Episode {one.episode} of {name} was filmed."
    append_event(connection, job_id, "rollout.filmed", message, details)


def finish(connection: Connection, job_id: str, outcome: Outcome) -> None:
    """Store how the job ended, and end it as succeeded.

    Raises:
        NotFound: the outcome names a candidate that is not stored.
    """
    set_job(connection, job_id, outcome=dump(outcome))
    if outcome.best is not None:
        _set_best(connection, job_id, outcome.best)
    details = {"verdict": outcome.verdict, "best": outcome.best}
    job = lock_job(connection, job_id)
    transition(connection, job, "succeeded", "job.completed", outcome.sentence, details)


def _set_best(connection: Connection, job_id: str, key: str) -> None:
    # The confirmation may have ranked another candidate first than the search did.
    iteration, _, number = key.partition(".")
    here = (candidates.c.iteration == int(iteration), candidates.c.number == int(number))
    found = connection.execute(
        select(candidates.c.fitness).where(candidates.c.job_id == job_id, *here)
    ).first()
    if found is None:
        raise NotFound(f"There is no candidate {key} in job {job_id}.")
    set_job(connection, job_id, best_candidate=key, best_fitness=found.fitness)


def await_feedback(connection: Connection, job_id: str, reason: str) -> None:
    """Let a job rest until people have said something, unless they have of its newest iteration.

    A remark locks the job as well, so that none slips in between the look and the rest.
    """
    job = lock_job(connection, job_id)
    if job.status == "running" and not _said_of(connection, job_id, job.iteration):
        transition(connection, job, "awaiting_feedback", "job.awaiting_feedback", reason)


def _said_of(connection: Connection, job_id: str, iteration: int) -> bool:
    rows = connection.execute(select(remarks).where(remarks.c.job_id == job_id)).mappings()
    said = [load(Remark, from_columns(dict(row))) for row in rows]
    return any(remark.iteration >= iteration for remark in said)


def pause_for(connection: Connection, job_id: str, reason: str) -> None:
    """Ask for a pause on behalf of people who have something to mend; it comes with the release."""
    set_job(connection, job_id, pause_requested=True)
    append_event(connection, job_id, "job.blocked", reason, {}, "error")


def fail(connection: Connection, job_id: str, reason: str, message: str, data: Json) -> None:
    """End the job as failed."""
    set_job(
        connection, job_id, failure_reason=reason, failure_message=message, failure_data=dict(data)
    )
    job = lock_job(connection, job_id)
    details = {"reason": reason, **data}
    transition(connection, job, "failed", "job.completed", message, details)
