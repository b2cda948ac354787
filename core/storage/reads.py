"""Rows → records: what is known of a job, in few queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    func,
    select,
    tuple_,
)

from core import seeding
from core.records.asking import Example, Exchange
from core.records.history import History
from core.records.kinds import FITNESS, NATIVE
from core.records.measured import Preflight, Report, Rollout, Run, Saved
from core.records.outcome import Outcome
from core.records.people import Given, Remark
from core.records.rounds import Candidate, Feedback, Iteration
from core.records.spec import JobSpec
from core.storage.claims import living
from core.storage.codec import from_columns, load
from core.storage.filmed import rollouts_of, waits_to_be_taken_in
from core.storage.ids import CandidateKey, RunKey, candidate_id, no_such, run_id
from core.storage.job_reads import Row, job_row, optional, read_rows, spent
from core.storage.series import curve_from
from core.storage.stored import Event, Page, StoredCandidate, StoredRun
from core.storage.tables import (
    candidates,
    checks,
    curves,
    evaluations,
    events,
    exchanges,
    feedback,
    given,
    iterations,
    remarks,
    runs,
    saved,
)

Where: TypeAlias = ColumnElement[bool]


def _of_job(table: Table, *order: ColumnElement[Any]) -> Select[Any]:
    return select(table).where(table.c.job_id == bindparam("job_id")).order_by(*order)


# Made once: a history asks a dozen, before each step and after it, and a quarter of reading it went
# into putting them together.
_ITERATIONS = _of_job(iterations, iterations.c.number)
_FEEDBACK = _of_job(feedback, feedback.c.iteration)
_CANDIDATES = _of_job(candidates, candidates.c.iteration, candidates.c.number)
_CHECKS = _of_job(checks, checks.c.iteration, checks.c.number, checks.c.position)
_RUNS = _of_job(runs, runs.c.stage, runs.c.arm, runs.c.rung, runs.c.seed)
_SEARCH_RUNS = _RUNS.where(runs.c.stage == "search")
_OTHER_RUNS = _RUNS.where(runs.c.stage != "search")
_REPORTS = _of_job(evaluations, evaluations.c.rung)
_SEARCH_REPORTS = _REPORTS.where(evaluations.c.stage == "search")
_NATIVE_REPORTS = _REPORTS.where(evaluations.c.stage == "baseline", evaluations.c.arm == NATIVE)
_GIVEN = _of_job(given, given.c.number)
_REMARKS = _of_job(remarks, remarks.c.number)
_EXCHANGES = _of_job(exchanges, exchanges.c.iteration, exchanges.c.slot, exchanges.c.attempt)
_EXCHANGES_OF_ONE = _EXCHANGES.where(exchanges.c.iteration == bindparam("iteration"))
_SAVED = _of_job(saved, saved.c.stage, saved.c.arm, saved.c.rung, saved.c.seed)

# --- the history ------------------------------------------------------------------------------


def history(connection: Connection, job_id: str, owner: str | None = None) -> History:
    """Return every stored fact of a job that decides what comes next; runs come without curves.

    Raises:
        NotFound: as `check_job`.
    """
    job = job_row(connection, job_id, owner)
    rounds = iterations_of(connection, job_id)
    by_stage: dict[str, list[Run]] = defaultdict(list)
    for row in read_rows(connection, _OTHER_RUNS, {"job_id": job_id}):
        run = _run_from(row).run
        by_stage[run.stage].append(run)
    baseline = by_stage["baseline"]
    found = History(
        spec=load(JobSpec, job["spec"]),
        status=job["status"],
        cancel_requested=job["cancel_requested"],
        pause_requested=job["pause_requested"],
        preflight=optional(Preflight, job["preflight"]),
        native=tuple(run for run in baseline if run.arm == NATIVE),
        iterations=rounds,
        runoffs=tuple(by_stage["runoff"]),
        confirmations=tuple(by_stage["confirm"]),
        outcome=optional(Outcome, job["outcome"]),
        failure=job["failure_message"],
        claimed=living(connection, job_id),
        spent=spent(job),
        native_report=_native_report(connection, job_id),
        fitness_alone=tuple(run for run in baseline if run.arm == FITNESS),
        ablations=tuple(by_stage["ablation"]),
        transfers=tuple(by_stage["transfer"]),
        given=given_of(connection, job_id),
        remarks=remarks_of(connection, job_id),
        extensions=job["extensions"],
        examples=tuple(load(Example, data) for data in job["examples"] or ()),
        rollouts=_filmed(connection, job_id),
        importing=not rounds and waits_to_be_taken_in(connection, job_id),
    )
    return replace(
        found,
        confirmations=seeding.present_confirmation(found, found.confirmations),
        transfers=seeding.present_confirmation(found, found.transfers),
        ablations=seeding.present_ablation(found, found.ablations),
    )


def _native_report(connection: Connection, job_id: str) -> Report | None:
    return _whole_reports(read_rows(connection, _NATIVE_REPORTS, {"job_id": job_id})).get(NATIVE)


def _filmed(connection: Connection, job_id: str) -> tuple[Rollout, ...]:
    return tuple(stored.rollout for stored in rollouts_of(connection, job_id))


def given_of(connection: Connection, job_id: str) -> tuple[Given, ...]:
    """Return the programs that people handed in, in order."""
    rows = read_rows(connection, _GIVEN, {"job_id": job_id})
    return tuple(load(Given, from_columns(row)) for row in rows)


def remarks_of(connection: Connection, job_id: str) -> tuple[Remark, ...]:
    """Return what people said, in order."""
    rows = read_rows(connection, _REMARKS, {"job_id": job_id})
    return tuple(load(Remark, from_columns(row)) for row in rows)


def saved_of(connection: Connection, job_id: str) -> tuple[Saved, ...]:
    """Return how far the runs of a job that are under way have come."""
    rows = read_rows(connection, _SAVED, {"job_id": job_id})
    return tuple(load(Saved, from_columns(row)) for row in rows)


def iterations_of(connection: Connection, job_id: str) -> tuple[Iteration, ...]:
    """Return the iterations of a job with their candidates, in order."""
    told = {f.iteration: f for f in _feedback_of(connection, job_id)}
    members: dict[int, list[Candidate]] = defaultdict(list)
    for stored in candidates_where(connection, job_id):
        members[stored.candidate.iteration].append(stored.candidate)
    return tuple(
        Iteration(n, tuple(members[n]), row["proposed"], told.get(n))
        for row in read_rows(connection, _ITERATIONS, {"job_id": job_id})
        for n in [row["number"]]
    )


def _feedback_of(connection: Connection, job_id: str) -> list[Feedback]:
    rows = read_rows(connection, _FEEDBACK, {"job_id": job_id})
    return [load(Feedback, from_columns(row)) for row in rows]


# --- candidates and runs ----------------------------------------------------------------------


def candidates_where(
    connection: Connection, job_id: str, *where: Where, limit: int | None = None
) -> list[StoredCandidate]:
    """Return candidates of a job with checks, runs and reports, in order of their natural key."""
    everything = not where and limit is None
    query = _CANDIDATES if everything else _CANDIDATES.where(*where).limit(limit)
    found = read_rows(connection, query, {"job_id": job_id})
    keys = None if everything else [(r["iteration"], r["number"]) for r in found]
    parts = _Parts(connection, job_id, keys)
    return [parts.candidate(row) for row in found]


class _Parts:
    """Checks, runs and reports of some candidates of one job, each read by one query."""

    def __init__(
        self, connection: Connection, job_id: str, keys: Sequence[tuple[int, int]] | None
    ) -> None:
        ran, reported, checked = _SEARCH_RUNS, _SEARCH_REPORTS, _CHECKS
        if keys is not None:
            arms = [f"{iteration}.{number}" for iteration, number in keys]
            ran = ran.where(runs.c.arm.in_(arms))
            reported = reported.where(evaluations.c.arm.in_(arms))
            checked = checked.where(tuple_(checks.c.iteration, checks.c.number).in_(keys))
        here = {"job_id": job_id}
        self.runs: dict[str, list[Run]] = defaultdict(list)
        for row in read_rows(connection, ran, here):
            self.runs[row["arm"]].append(_run_from(row).run)
        self.checks: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in read_rows(connection, checked, here):
            self.checks[f"{row['iteration']}.{row['number']}"].append(from_columns(row))
        self.reports = _whole_reports(read_rows(connection, reported, here))

    def candidate(self, row: Row) -> StoredCandidate:
        """Put a candidate together."""
        key = f"{row['iteration']}.{row['number']}"
        parts = {
            "checks": self.checks[key],
            "runs": tuple(self.runs[key]),
            "report": self.reports.get(key),
        }
        record = load(Candidate, {**from_columns(row), **parts})
        name = candidate_id(row["job_id"], record.iteration, record.number)
        return StoredCandidate(name, row["job_id"], row["created_at"], row["fitness"], record)


def _whole_reports(rows: Sequence[Row]) -> dict[str, Report]:
    """Return the report of every arm, of rows in the order of the rungs."""
    by_rung: dict[str, list[Report]] = defaultdict(list)
    for row in rows:
        by_rung[row["arm"]].append(load(Report, row["report"]))
    return {arm: _with_whole_course(reports) for arm, reports in by_rung.items()}


def _with_whole_course(reports: Sequence[Report]) -> Report:
    """Return the report of the highest rung, in which components tell of the rungs before as well.

    Each report knows the checks of its own rung.  One of a rung that does not tell of the same
    components ends the way back, for what lies before a gap is not next to what lies behind it.
    """
    *before, last = reports
    components = dict(last.components)
    for report in reversed(before):
        own = {name: report.components.get(name) for name in components}
        if any(term is None or not term.by_checkpoint for term in own.values()):
            break
        components = {
            name: replace(term, by_checkpoint=(*earlier.by_checkpoint, *term.by_checkpoint))
            for name, term in components.items()
            if (earlier := own[name]) is not None
        }
    return replace(last, components=components)


def candidate(connection: Connection, key: CandidateKey) -> StoredCandidate:
    """Return one candidate.

    Raises:
        NotFound: no such candidate.
    """
    here = and_(candidates.c.iteration == key.iteration, candidates.c.number == key.number)
    found = candidates_where(connection, key.job_id, here)
    if not found:
        raise no_such("candidate", candidate_id(*key))
    return found[0]


def candidates_page(
    connection: Connection, job_id: str, after: CandidateKey | None, limit: int, status: str | None
) -> Page[StoredCandidate]:
    """Return candidates in order of their natural key, those after `after`."""
    where: list[Where] = []
    if after is not None:
        place = tuple_(candidates.c.iteration, candidates.c.number)
        where.append(place > tuple_(after.iteration, after.number))
    if status is not None:
        where.append(candidates.c.status == status)
    found = candidates_where(connection, job_id, *where, limit=limit + 1)
    return Page(tuple(found[:limit]), len(found) > limit)


def runs_where(connection: Connection, job_id: str, *where: Where) -> list[StoredRun]:
    """Return runs of a job without their curves, in order of (stage, arm, rung, seed)."""
    query = _RUNS.where(*where) if where else _RUNS
    return [_run_from(row) for row in read_rows(connection, query, {"job_id": job_id})]


def runs_of(connection: Connection, key: CandidateKey) -> tuple[StoredRun, ...]:
    """Return the runs of a candidate, of every stage.

    Raises:
        NotFound: no such candidate.
    """
    candidate(connection, key)
    own = and_(runs.c.iteration == key.iteration, runs.c.number == key.number)
    return tuple(runs_where(connection, key.job_id, own))


def native_runs(connection: Connection, job_id: str) -> tuple[StoredRun, ...]:
    """Return the runs of the native reward, of every stage."""
    return tuple(runs_where(connection, job_id, runs.c.arm == NATIVE))


def run(connection: Connection, key: RunKey) -> StoredRun:
    """Return one run with its curve.

    Raises:
        NotFound: no such run.
    """
    here = and_(runs.c.stage == key.stage, runs.c.arm == key.arm)
    exact = and_(here, runs.c.seed == key.seed, runs.c.rung == key.rung)
    query = select(runs).where(runs.c.job_id == key.job_id, exact)
    found = read_rows(connection, query)
    if not found:
        raise no_such("run", run_id(key))
    columns = (curves.c.job_id, curves.c.stage, curves.c.arm, curves.c.seed, curves.c.rung)
    chunks = select(curves).where(*(c == part for c, part in zip(columns, key, strict=True)))
    chunks = chunks.order_by(curves.c.position, curves.c.chunk)
    return _run_from({**found[0], "curve": curve_from(read_rows(connection, chunks))})


def _run_from(row: Row) -> StoredRun:
    record = load(Run, from_columns(row))
    key = RunKey(row["job_id"], record.stage, record.arm, record.seed, record.rung)
    return StoredRun(run_id(key), row["job_id"], row["created_at"], record)


# --- exchanges and events ---------------------------------------------------------------------


def exchanges_of(
    connection: Connection, job_id: str, iteration: int | None
) -> tuple[Exchange, ...]:
    """Return the exchanges of a job, or of one of its iterations, in order of their natural key."""
    query, asked = _EXCHANGES, dict[str, object](job_id=job_id)
    if iteration is not None:
        query, asked = _EXCHANGES_OF_ONE, {**asked, "iteration": iteration}
    return tuple(exchange_from(row) for row in read_rows(connection, query, asked))


def exchange_from(row: Row) -> Exchange:
    """Nest again what lies flat in a row: question, answer, usage."""
    flat = from_columns(row)
    return load(Exchange, {**flat, "reply": {**flat, "usage": flat}})


def events_of(connection: Connection, job_id: str, after: int, limit: int) -> tuple[Event, ...]:
    """Return the events of a job with a number above `after`, oldest first."""
    asked = {"job_id": job_id, "after": after, "most": limit}
    return tuple(load(Event, row) for row in read_rows(connection, EVENTS, asked))


EVENTS = (
    select(events)
    .where(events.c.job_id == bindparam("job_id"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("most", type_=Integer))
)
"""Made once: many requests ask it, and to put it together costs more than to ask it."""


def failures_of(connection: Connection, job_id: str, step_key: str) -> int:
    """Return how many events of the kind `step.failed` tell of a step since the job last went on.

    That is since it was retried or extended, or a program came after its confirmation had begun: both
    use keys of steps again.
    """
    anew = ("job.retried", "job.extended", "confirmation.renewed")
    here = (events.c.job_id == job_id, events.c.kind.in_(anew))
    went_on = select(func.coalesce(func.max(events.c.seq), 0)).where(*here).scalar_subquery()
    query = select(events.c.data).where(events.c.job_id == job_id, events.c.kind == "step.failed")
    query = query.where(events.c.seq > went_on)
    told = connection.execute(query).scalars()
    return sum(1 for data in told if data.get("step") == step_key)
