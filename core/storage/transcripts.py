"""A job's exported history, read back: every line held to its form before anything of it is stored.

    job, then exchange, iteration, candidate, run, report, feedback, given, remark, rollout, event
    in any order, then end

Files are not part of it.  Hashes that name some are left out, for whoever writes a line could name
the files of others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NoReturn

from core.errors import InvalidInput, ProgramRejected, StorageFailed
from core.program import read_program, with_params
from core.records.asking import Exchange
from core.records.history import Spent
from core.records.kinds import FINISHED, JobStatus
from core.records.measured import Preflight, Report, Rollout, Run
from core.records.outcome import Outcome
from core.records.people import Given, Remark
from core.records.rounds import Candidate, Feedback
from core.records.spec import JobSpec
from core.storage.codec import load
from core.storage.ids import check_job_id, read_arm
from core.storage.stored import Event, Failure
from core.storage.whole import StoredReport

FORMAT = 1
MOST_LINES = 200_000
MOST_HEAD_CHARACTERS = 1 << 20  # whoever lists jobs reads most of the first line
MOST_LINE_CHARACTERS = 4 << 20  # a prompt of as many tokens as a job may allow; curves need 1.5 MiB
_WHERE = "an exported job"


@dataclass(frozen=True, slots=True)
class Head:
    """The first line: the job as it stood when it was exported."""

    id: str
    format: int
    spec: JobSpec
    status: JobStatus
    created_at: datetime
    name: str | None = None
    notes: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    started_at: datetime | None = None
    finished_at: datetime | None = None
    preflight: Preflight | None = None
    failure: Failure | None = None
    outcome: Outcome | None = None
    best_candidate: str | None = None
    best_fitness: float | None = None
    native_fitness: float | None = None
    spent: Spent = field(default_factory=Spent)
    extensions: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """An iteration without its candidates."""

    number: int
    proposed: bool


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything that an export tells of a job that had ended, without any file."""

    head: Head
    exchanges: tuple[Exchange, ...] = ()
    rounds: tuple[Round, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    runs: tuple[Run, ...] = ()
    reports: tuple[StoredReport, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    given: tuple[Given, ...] = ()
    remarks: tuple[Remark, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    events: tuple[Event, ...] = ()


# type of a line -> (kind of record, attribute of the transcript, its natural key)
_KINDS: Mapping[str, tuple[type[Any], str, Callable[[Any], object]]] = {
    "exchange": (Exchange, "exchanges", lambda x: (x.iteration, x.slot, x.attempt)),
    "iteration": (Round, "rounds", lambda x: x.number),
    "candidate": (Candidate, "candidates", lambda x: x.key),
    "run": (Run, "runs", lambda x: (x.stage, x.arm, x.seed, x.rung)),
    "report": (StoredReport, "reports", lambda x: (x.stage, x.arm, x.rung)),
    "feedback": (Feedback, "feedback", lambda x: x.iteration),
    "given": (Given, "given", lambda x: x.number),
    "remark": (Remark, "remarks", lambda x: x.number),
    "rollout": (Rollout, "rollouts", lambda x: (x.extension, x.arm, x.episode, x.stage)),
    "event": (Event, "events", lambda x: x.seq),
}


def read_transcript(
    text: str, check: Callable[[object], object] = lambda value: value
) -> Transcript:
    """Read an export.

    Args:
        text:  lines of JSON.
        check: raises ValueError for JSON that may not be stored.

    Raises:
        InvalidInput: says which line, and what is wrong with it.
    """
    head: Head | None = None
    found: dict[str, dict[object, Any]] = {name: {} for _, name, _ in _KINDS.values()}
    count, ended = 0, False
    for number, line in enumerate(_lines(text), start=1):
        if number > MOST_LINES:
            raise _wrong(number, f"more than {MOST_LINES} lines")
        most = MOST_LINE_CHARACTERS if number > 1 else MOST_HEAD_CHARACTERS
        if len(line) > most:
            raise _wrong(number, f"{len(line):,} characters, expected at most {most:,}")
        said = _object(line, number, check)
        kind = said.pop("type", None)
        if ended:
            raise _wrong(number, "a line after the end")
        if kind == "end":
            ended = True
            _expect_count(said.get("lines"), count, number)
            continue
        count += 1
        if head is None:
            head = _head(kind, said, number)
            continue
        _add(found, kind, said, number, head)
    if head is None or not ended:
        raise InvalidInput(
            "no end", expected="lines that end in `end`", where=_WHERE, hint="Export it again."
        )
    transcript = Transcript(head, **{name: tuple(ones.values()) for name, ones in found.items()})
    _check_references(transcript)
    return without_files(transcript)


def _lines(text: str) -> Iterator[str]:
    """Yield one line after another, for all of them together would be the text once more.

    Not as `splitlines` does: JSON may hold other ends of lines inside its strings.
    """
    start, end = 0, len(text) - text.endswith("\n")
    while start <= end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield text[start:stop]
        start = stop + 1


def _object(line: str, number: int, check: Callable[[object], object]) -> dict[str, Any]:
    try:
        said = json.loads(line, parse_constant=_refuse_constant)
        check(said)
    except (ValueError, RecursionError) as error:
        raise _wrong(number, str(error)[:300]) from error
    if not isinstance(said, dict):
        raise _wrong(number, f"a {type(said).__name__}")
    return said


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _head(kind: object, said: dict[str, Any], number: int) -> Head:
    if kind != "job":
        raise _wrong(number, f"a line of the type {kind!r}, expected the job first")
    head: Head = _load(Head, said, number)
    if head.format != FORMAT:
        raise _wrong(number, f"format {head.format}, expected {FORMAT}")
    if head.status not in FINISHED:
        raise _wrong(number, f"a job that is {head.status}, expected one that has ended")
    return head


def _add(
    found: dict[str, dict[object, Any]], kind: object, said: dict[str, Any], number: int, head: Head
) -> None:
    if not isinstance(kind, str) or kind not in _KINDS:
        raise _wrong(number, f"a line of the type {str(kind)[:40]!r}")
    record, name, key_of = _KINDS[kind]
    one = _load(record, said, number)
    if isinstance(one, Candidate):
        one = _held(one, head, number)
    if found[name].setdefault(key_of(one), one) is not one:
        raise _wrong(number, f"a second {kind} {key_of(one)}")


def _load(kind: type[Any], said: Mapping[str, Any], number: int) -> Any:
    try:
        return load(kind, said)
    except StorageFailed as error:
        raise _wrong(number, error.found) from error


def _held(candidate: Candidate, head: Head, number: int) -> Candidate:
    """Hold a candidate's program to the rules of all programs, and keep what was read of it.

    Only its text and the numbers in force come from the line: whoever downloads the design runs it.
    """
    told = candidate.program
    if told is None:
        return candidate
    task = head.spec.task
    fields = task.fields if head.preflight is None else head.preflight.fields
    try:
        read = read_program(told.source, fields, head.spec.mode, task.array)
        program = with_params(read, told.params)
    except ProgramRejected as error:
        found = f"a program of candidate {candidate.key} that breaks a rule: {error.sentence()}"
        raise _wrong(number, found) from error
    if program.sha256 != told.sha256:
        raise _wrong(
            number,
            f"a program of candidate {candidate.key} with the sha256 {program.sha256}, but "
            f"{told.sha256[:80]!r} is told",
        )
    return replace(candidate, program=program)


def _expect_count(told: object, count: int, number: int) -> None:
    if told != count:
        raise _wrong(number, f"an end after {told} lines, but there were {count}")


def _wrong(number: int, found: str) -> InvalidInput:
    return InvalidInput(
        found, where=f"{_WHERE}, line {number}", hint="Send an export as it was written."
    )


# --- what must fit together -------------------------------------------------------------------


def _check_references(told: Transcript) -> None:
    """Refuse facts of candidates or iterations that there are not."""
    rounds = {one.number for one in told.rounds}
    keys = {one.key for one in told.candidates}
    for named, iteration in (
        *(("candidate", one.iteration) for one in told.candidates),
        *(("feedback", one.iteration) for one in told.feedback),
    ):
        if iteration not in rounds:
            raise _loose(f"a {named} of iteration {iteration}, which is not there")
    arms = {run.arm for run in told.runs} | {one.arm for one in told.reports}
    for arm in sorted(arms | {one.arm for one in told.rollouts}):
        _check_arm(arm, keys)
    _check_best(told)
    if any(run.status == "scored" and run.fitness is None for run in told.runs):
        raise _loose("a scored run without fitness")


def _check_best(told: Transcript) -> None:
    """Refuse a best candidate without a program: the library and later prompts show it."""
    known = {one.key: one.program for one in told.candidates}
    for key in (told.head.best_candidate, told.head.outcome and told.head.outcome.best):
        if not key:
            continue
        if key not in known:
            raise _loose(f"the candidate {key}, which is not there")
        if known[key] is None:
            raise _loose(f"the best candidate {key} without a program")


def _check_arm(arm: str, keys: set[str]) -> None:
    if read_arm(arm) is not None and arm not in keys:
        raise _loose(f"the candidate {arm}, which is not there")


def _loose(found: str) -> InvalidInput:
    return InvalidInput(found, where=_WHERE, hint="Send an export as it was written.")


# --- what stays behind ------------------------------------------------------------------------


def without_files(told: Transcript) -> Transcript:
    """Return the same without any name of a file."""
    check_job_id(told.head.id)
    preflight = told.head.preflight
    bare = None if preflight is None else replace(preflight, probe="", recording=None)
    return replace(
        told,
        head=replace(told.head, preflight=bare),
        candidates=tuple(_bare_candidate(one) for one in told.candidates),
        runs=tuple(replace(run, weights=None, checkpoint=None) for run in told.runs),
        reports=tuple(replace(one, report=_bare_report(one.report)) for one in told.reports),
        rollouts=tuple(_bare_rollout(one) for one in told.rollouts),
        events=_bare_events(told.events),
    )


def _bare_candidate(candidate: Candidate) -> Candidate:
    return replace(candidate, runs=(), report=None)  # they come in lines of their own


def _bare_report(report: Report) -> Report:
    return replace(report, transitions=None, recording=None)


def _bare_rollout(one: Rollout) -> Rollout:
    missing = "its files stayed where it was exported" if one.video else one.failure
    bare = replace(one, weights=None, video=None, preview=None, trace=None, recording=None)
    return replace(bare, failure=missing)


def _bare_events(events: Sequence[Event]) -> tuple[Event, ...]:
    return tuple(sorted(events, key=lambda event: event.seq))
