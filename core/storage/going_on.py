"""Jobs that go on after their end: extended by more iterations, or retried after a failure.

Facts stay.  What an extension changes is the stored spec; how the job had ended stands in its event.
A confirmation that had begun is not gone on with: the next one has seeds that nobody has seen, because
whoever extends a job, or hands a program in, has seen how the last one came out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from core import searching
from core.budgets import kept_back
from core.errors import Conflict, InvalidInput
from core.records.history import History
from core.records.kinds import FINISHED, NATIVE, Json
from core.records.people import Given
from core.records.spec import Budget, JobSpec
from core.storage import reads
from core.storage.accept import check_open
from core.storage.codec import dump
from core.storage.job_reads import job_row
from core.storage.lifecycle import (
    append_event,
    hold_the_end,
    lock_job,
    not_now,
    renew_confirmation,
    set_job,
    transition,
)
from core.storage.people import MOST_GIVEN, hold_number, hold_plan, insert_given
from core.storage.requests import UNMARKED, Request, earlier
from core.storage.tables import claims, runs

EXTENDABLE = frozenset({"no_valid_candidate"})  # reasons of a failure that more iterations can mend


UNCHANGED = Budget()


@dataclass(frozen=True, slots=True)
class Extension:
    """What a job gets more of.

    Attributes:
        iterations: further ones.
        budget:     new limits of the whole job; None keeps a limit as it is.
        start:      programs of people's, which the next iteration takes.
    """

    iterations: int = 0
    budget: Budget = UNCHANGED
    start: tuple[Given, ...] = ()


def extend(
    connection: Connection,
    job_id: str,
    extension: Extension,
    most_iterations: int,
    request: Request = UNMARKED,
    most_open: int | None = None,
    most_steps: int | None = None,
) -> bool:
    """Let a job go on for longer; tell whether the same request had done so before.

    Raises:
        NotFound: no such job.
        Conflict: it is cancelled, or failed for a reason that more iterations do not mend, or it was
            extended too often.
        InvalidInput: it would have too many iterations or environment steps, a limit is lower than
            before, or the budget does not allow another iteration.
        LimitReached: it had ended, and its owner has too many unfinished jobs.
        IdempotencyMismatch: the key was used with another body.
    """
    job = lock_job(connection, job_id)
    if earlier(connection, job_id, "job.extended", request) is not None:
        return True
    _check_extendable(job)
    before = reads.history(connection, job_id)
    spec = _longer(before, extension, most_iterations)
    set_job(connection, job_id, spec=dump(spec))
    for given in extension.start:
        number = insert_given(connection, job_id, given).number
        hold_number(job_id, number, MOST_GIVEN, "programs of people's")
    renew_confirmation(connection, job_id, before)
    _reopen(connection, job, "job.extended", _extension_words(extension), request, most_open)
    history = reads.history(connection, job_id)
    _check_useful(history)
    hold_plan(history, most_steps)
    return False


def _check_at_home(job: Row[Any]) -> None:
    """Refuse to go on with facts that were written elsewhere: only a fork's are all our own."""
    if job.origin is not None:
        raise Conflict(
            f"Job {job.id} was imported: its files stayed where it was exported, and its programs were "
            "never checked here.",
            hint="Fork it from one of its candidates.",
        )


def _check_extendable(job: Row[Any]) -> None:
    _check_at_home(job)
    mendable = job.status != "failed" or job.failure_reason in EXTENDABLE
    if job.status == "cancelled" or job.cancel_requested or not mendable:
        raise not_now(job, "extend")


def _longer(before: History, extension: Extension, most_iterations: int) -> JobSpec:
    spec, iterations = before.spec, before.spec.iterations
    if extension.iterations:
        # Those of people's own programs, which followed the plan, are none of the further ones.
        iterations = max(iterations, searching.begun(before)) + extension.iterations
    if iterations > most_iterations:
        raise InvalidInput(
            f"{iterations} in all",
            expected=f"at most {most_iterations} iterations in a job",
            where="iterations",
            hint="Fork the job from its best candidate to go on from there.",
        )
    return replace(spec, iterations=iterations, budget=_higher(spec.budget, extension.budget))


def _higher(old: Budget, new: Budget) -> Budget:
    limits = {}
    for name in Budget.__slots__:
        before, asked = getattr(old, name), getattr(new, name)
        if asked is not None and (before is None or asked < before):
            known = "no limit" if before is None else f"{before:,}"
            raise InvalidInput(
                f"{asked:,}",
                expected=f"at least what the job has, which is {known}",
                where=f"budget, {name}",
                hint="Leave it out to keep the limit as it is.",
            )
        limits[name] = before if asked is None else asked
    return Budget(**limits)


def _extension_words(extension: Extension) -> str:
    more = [f"{extension.iterations} more iterations"] if extension.iterations else []
    if extension.start:
        more.append(f"{len(extension.start)} programs")
    if extension.budget != UNCHANGED:
        more.append("a higher budget")
    return f"The job was extended: {', '.join(more)}."


def _check_useful(history: History) -> None:
    """Refuse an extension from which nothing would follow."""
    budget = searching.budget_exhausted(history)
    if not searching.search_ended(history):
        return
    if budget is None:
        raise InvalidInput(
            "nothing more",
            expected="iterations, or a program in `start`, or a budget that allows what was cut off",
            where="extension",
        )
    needed = history.spent.env_steps + searching.next_cost(history) + kept_back(history)
    words = f"at least {needed:,} environment steps" if budget == "env_steps" else "more"
    raise InvalidInput(
        f"a budget ({budget}) that is used up",
        expected=f"a budget that allows one more iteration: {words}",
        where=f"budget, {budget}",
    )


def retry(
    connection: Connection,
    job_id: str,
    request: Request = UNMARKED,
    most_open: int | None = None,
) -> bool:
    """Let a failed or cancelled job go on from its stored facts; tell whether it was asked before.

    Runs of the native reward that broke are forgotten, for nothing else can stand in for them.

    Raises:
        NotFound: no such job.
        Conflict: it did not fail, or it would at once fail again.
        LimitReached: its owner has too many unfinished jobs.
        IdempotencyMismatch: the key was used with another body.
    """
    job = lock_job(connection, job_id)
    if earlier(connection, job_id, "job.retried", request) is not None:
        return True
    if job.status not in ("failed", "cancelled"):
        raise not_now(job, "retry")
    _check_at_home(job)
    if job.failure_reason in EXTENDABLE:
        raise Conflict(
            f"Job {job_id} has measured all its candidates, and none could be used; to try the same "
            "again would change nothing.",
            hint="Extend the job by further iterations, or fork it with other settings.",
        )
    _forget_broken_baselines(connection, job_id)
    _reopen(connection, job, "job.retried", "The job is tried again.", request, most_open)
    return False


def _forget_broken_baselines(connection: Connection, job_id: str) -> None:
    broken = (runs.c.job_id == job_id, runs.c.arm == NATIVE, runs.c.status == "failed")
    seeds = connection.execute(select(runs.c.stage, runs.c.seed).where(*broken)).all()
    if not seeds:
        return
    connection.execute(delete(runs).where(*broken))
    details = {"runs": [[stage, seed] for stage, seed in seeds]}
    message = f"{len(seeds)} broken runs of the native reward are trained again."
    append_event(connection, job_id, "log", message, details)


def _reopen(
    connection: Connection,
    job: Row[Any],
    kind: str,
    message: str,
    request: Request,
    most_open: int | None,
) -> None:
    """Open a job that has ended again; what it had ended with stands in the event."""
    ended = job_row(connection, job.id)
    names = ("outcome", "failure_reason", "failure_message", "failure_data")
    details: Json = {name: ended[name] for name in names if ended[name] is not None}
    details = {**details, **request.marks()}
    if job.status not in FINISHED:
        hold_the_end(connection, job.id)
        append_event(connection, job.id, kind, message, details)
        return
    cleared: dict[str, None] = dict.fromkeys(names)
    set_job(connection, job.id, **cleared, cancel_requested=False, pause_requested=False)
    # Whoever died or waited with a step in hand did so in another life of the job.
    fresh = {"lapses": 0, "resting_until": None, "resting_reason": None, "offered_until": None}
    connection.execute(update(claims).where(claims.c.job_id == job.id).values(**fresh))
    transition(connection, job, "queued", kind, message, details)
    if most_open is not None:
        check_open(connection, ended["owner"], most_open)
