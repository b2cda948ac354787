"""Writing what trainings gave: runs, curves and reports, and the standing that follows from them.

Everything here happens on the connection of a transaction that has locked the job's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, select, tuple_, update

from core import choosing
from core.errors import InvalidInput
from core.records.history import History
from core.records.kinds import NATIVE, CandidateStatus
from core.records.measured import Report, Run, Saved
from core.records.rounds import Candidate
from core.rungs import reached
from core.storage import reads, series
from core.storage.codec import dump, dump_record, to_columns
from core.storage.facts import insert_once, note_artifacts
from core.storage.ids import candidate_id, read_arm
from core.storage.lifecycle import append_event, lock_job, set_job
from core.storage.removal import SAVED_FILES, discard, saved_files
from core.storage.tables import candidates, curves, evaluations, jobs, runs, saved


def save(connection: Connection, job_id: str, given: Sequence[Saved]) -> None:
    """Note how far runs under way have come, in place of what was noted before.

    Raises:
        InvalidInput: a number is not finite.
    """
    snapshots = [sha256 for one in given for _, sha256 in one.snapshots]
    _forget_saved(connection, job_id, given, [*snapshots, *(one.checkpoint for one in given)])
    rows = [{"job_id": job_id, **to_columns(saved, dump_record(one))} for one in given]
    insert_once(connection, saved, *rows)


def _forget_saved(
    connection: Connection, job_id: str, given: Sequence[Saved | Run], still: Iterable[str | None]
) -> None:
    """Forget what was saved of runs before; its files go, unless they are those of now."""
    keys = [(one.stage, one.arm, one.seed, one.rung) for one in given]
    place = tuple_(saved.c.stage, saved.c.arm, saved.c.seed, saved.c.rung)
    gone = delete(saved).where(saved.c.job_id == job_id, place.in_(keys)).returning(*SAVED_FILES)
    discard(connection, saved_files(connection.execute(gone)).difference(still))


def add_runs(
    connection: Connection, job_id: str, given: Sequence[Run], reports: Mapping[str, Report]
) -> None:
    """Store runs, curves and reports; bring candidates and job up to date.

    What was saved of the runs while they were under way is forgotten.

    A report belongs to the highest rung among the given runs of its arm.

    Raises:
        InvalidInput: a run of an unknown candidate, a scored run without fitness, a number that is
            not finite, or a report of an arm without runs.
    """
    fresh = [run for run in given if _add_run(connection, job_id, run)]
    for arm, report in reports.items():
        _add_report(connection, job_id, arm, report, given)
    hashes = [sha256 for run in given for sha256 in (run.weights, run.checkpoint)]
    note_artifacts(connection, job_id, "weights", hashes)
    _forget_saved(connection, job_id, given, hashes)
    if fresh:
        _update_standing(connection, job_id, fresh)


def _add_run(connection: Connection, job_id: str, run: Run) -> bool:
    _check_run(connection, job_id, run)
    return insert_run(connection, job_id, run)


def insert_run(connection: Connection, job_id: str, run: Run) -> bool:
    """Insert a run with its curve, and nothing else; tell whether it was new."""
    iteration, number = read_arm(run.arm) or (None, None)
    data = dump_record(replace(run, curve=None))
    own = to_columns(runs, {name: value for name, value in data.items() if name != "curve"})
    place = {"job_id": job_id, "iteration": iteration, "number": number}
    if not insert_once(connection, runs, {**place, **own}):
        return False
    if run.curve is not None:
        key = {"stage": run.stage, "arm": run.arm, "seed": run.seed, "rung": run.rung}
        rows = [{"job_id": job_id, **key, **chunk} for chunk in series.chunks(run.curve)]
        insert_once(connection, curves, *rows)
    return True


def _check_run(connection: Connection, job_id: str, run: Run) -> None:
    where = f"run {run.stage}/{run.arm}/{run.seed}/{run.rung}"
    if run.status == "scored" and run.fitness is None:
        raise InvalidInput("none", expected="the fitness of a scored run", where=where)
    key = read_arm(run.arm)
    if key is None:
        return
    place = (candidates.c.iteration == key[0], candidates.c.number == key[1])
    stored = select(candidates.c.number).where(candidates.c.job_id == job_id, *place)
    if connection.execute(stored).first() is None:
        raise InvalidInput("an arm that is no stored candidate", where=where)


def _add_report(
    connection: Connection, job_id: str, arm: str, report: Report, given: Sequence[Run]
) -> None:
    own = [run for run in given if run.arm == arm]
    if not own:
        raise InvalidInput("a report without a run", where=f"arm {arm}")
    last = max(own, key=lambda run: run.rung)
    row = {"job_id": job_id, "stage": last.stage, "arm": arm, "rung": last.rung}
    insert_once(connection, evaluations, {**row, "report": dump(report)})
    note_artifacts(connection, job_id, "transitions", [report.transitions, report.recording])


# --- the standing -----------------------------------------------------------------------------


def _update_standing(connection: Connection, job_id: str, fresh: Sequence[Run]) -> None:
    # No sum over the rows: what runs took that a retry has forgotten stays spent.
    spent = jobs.c.env_steps + sum(run.env_steps for run in fresh)
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(env_steps=spent))
    history = reads.history(connection, job_id)
    arms = {run.arm for run in fresh if run.stage == "search"}
    for candidate in (c for i in history.iterations for c in i.candidates if c.key in arms):
        _update_candidate(connection, job_id, candidate)
    if any(run.stage == "baseline" and run.arm == NATIVE for run in fresh):
        _update_native(connection, job_id, history)
    if arms or any(run.stage == "runoff" for run in fresh):
        _update_best(connection, job_id, history)


def _update_candidate(connection: Connection, job_id: str, candidate: Candidate) -> None:
    fitness = choosing.search_fitness(candidate)
    status: CandidateStatus = "failed" if fitness is None else "trained"
    place = (candidates.c.iteration == candidate.iteration, candidates.c.number == candidate.number)
    changed = update(candidates).where(candidates.c.job_id == job_id, *place)
    connection.execute(changed.values(status=status, fitness=fitness))
    details = {
        "candidate": candidate_id(job_id, candidate.iteration, candidate.number),
        "key": candidate.key,
        "iteration": candidate.iteration,
        "number": candidate.number,
        "rung": max(run.rung for run in candidate.runs),
        "status": status,
        "fitness": fitness,
        "failure": next((run.failure for run in candidate.runs if run.failure), None),
    }
    reached = "could not be trained" if fitness is None else f"reached fitness {fitness:.4g}"
    message = f"Candidate {candidate.key} {reached}."
    append_event(connection, job_id, "candidate.evaluated", message, details)


def _update_native(connection: Connection, job_id: str, history: History) -> None:
    fitness = choosing.native_fitness(history)
    set_job(connection, job_id, native_fitness=fitness)
    reached = "could not be measured" if fitness is None else f"reached fitness {fitness:.4g}"
    details = {"fitness": fitness, "runs": len(history.native)}
    message = f"The native reward {reached}."
    append_event(connection, job_id, "baseline.evaluated", message, details)


def _update_best(connection: Connection, job_id: str, history: History) -> None:
    best = next(iter(choosing.finalists(history)), None)
    training = history.spec.training
    if best is None or (training.threshold is None and reached(best) < len(training.rungs) - 1):
        return  # half-trained candidates stand first only where nobody else is left in the end
    fitness, before = choosing.search_fitness(best), lock_job(connection, job_id).best_candidate
    set_job(connection, job_id, best_candidate=best.key, best_fitness=fitness)
    if best.key == before:
        return
    name = candidate_id(job_id, best.iteration, best.number)
    details = {"candidate": name, "key": best.key, "fitness": fitness, "before": before}
    message = f"Candidate {best.key} is the best so far."
    append_event(connection, job_id, "best.changed", message, details)
