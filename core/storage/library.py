"""The library: designs that jobs ended with, found by words and by the names of fields.

Ranked by BM25 over task, description and fields, in a full-text index of SQLite (FTS5, with stemming)
that is made in memory for each search, the same for both databases.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Connection, select

from core.program import current_source
from core.records.asking import Example
from core.records.kinds import Json, Verdict
from core.records.outcome import Outcome
from core.records.spec import JobSpec
from core.records.task import Task
from core.storage import reads
from core.storage.access import Access, check_limit
from core.storage.clean import clean_text
from core.storage.codec import load
from core.storage.ids import CandidateKey, no_such, read_arm
from core.storage.job_reads import job_row, read_rows
from core.storage.tables import jobs

MOST_READ = 5_000  # newest finished jobs that a search looks at
MOST_WORDS = 200
WEIGHTS = (4.0, 3.0, 1.0, 2.0)  # of name, description, environment and fields

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LibraryItem:
    """A finished design.

    Attributes:
        job:       id of the job that found it; `candidate` its key there.
        fields:    names of the task's fields.
        source:    the module, with the numbers in force.
        verdict, evidence: how it compares with the native reward on fresh seeds.
        score:     how well it fits the query, higher is better; None without a query.
    """

    job: str
    candidate: str
    task: Task
    fields: tuple[str, ...]
    source: str
    verdict: Verdict
    evidence: str
    finished_at: datetime
    score: float | None = None


class Library(Access):
    """Finished designs."""

    def search(
        self, query: str | None = None, *, task: str | None = None, limit: int = 20
    ) -> tuple[LibraryItem, ...]:
        """Return finished designs, those that fit the query best first, without one the newest.

        Raises:
            InvalidInput: `limit` is out of range.
        """
        check_limit(limit)
        query, task = query and clean_text(query), task and clean_text(task)
        return self._read(lambda c: search(c, query, task, limit, self._owner))

    def item(self, job_id: str) -> LibraryItem:
        """Return the design that a job ended with.

        Raises:
            NotFound: no such job, or it has not ended with one.
        """
        return self._of_job(job_id, lambda c: item(c, job_id))


def search(
    connection: Connection,
    query: str | None,
    task: str | None,
    limit: int,
    owner: str | None = None,
) -> tuple[LibraryItem, ...]:
    """Return finished designs, those that fit the query best first, without one the newest."""
    rows = _finished(connection, task, owner)
    if query is None:
        return tuple(_item(connection, row, None) for row in rows[:limit])
    ranked = rank(query, [_texts(row) for row in rows])
    return tuple(_item(connection, rows[place], score) for place, score in ranked[:limit])


def item(connection: Connection, job_id: str) -> LibraryItem:
    """Return the design that a job ended with.

    Raises:
        NotFound: no such job, or it has not ended with one.
    """
    row = job_row(connection, job_id)
    if row["status"] != "succeeded" or not row["outcome"] or row["outcome"]["best"] is None:
        raise no_such("finished design of job", job_id)
    return _item(connection, row, None)


def examples_for(connection: Connection, job_id: str) -> tuple[Example, ...]:
    """Return designs of other tasks that resemble the job's, at most one of each task, best fit first.

    Only designs of the job's own owner: none of the same task unless the job allows it, none in
    another array library, and none that was worse than the native reward.
    """
    job = job_row(connection, job_id)
    spec = load(JobSpec, job["spec"])
    rows = [row for row in _finished(connection, None, job["owner"]) if _may_show(spec, row)]
    task = spec.task
    fields = (field.name for field in task.fields)
    words = " ".join((task.name, task.description, task.environment, *fields))
    chosen: dict[str, Row] = {}
    for place, _ in rank(words, [_texts(row) for row in rows]):
        chosen.setdefault(rows[place]["task"], rows[place])
    shown = list(chosen.values())[: spec.context.examples]
    return tuple(_example(_item(connection, row, None)) for row in shown)


def rank(query: str, texts: Sequence[Sequence[str]]) -> list[tuple[int, float]]:
    """Return (place, score) of the texts that share a word with the query, best first.

    Args:
        query: words in any language; those of a name such as `cart_position` count one by one.
        texts: of each document name, description, environment and fields.
    """
    words = dict.fromkeys(_words(query))
    if not words:
        return []
    wanted = " OR ".join(f'"{word}"' for word in list(words)[:MOST_WORDS])
    columns = ", ".join(map(str, WEIGHTS))
    with closing(sqlite3.connect(":memory:")) as index:
        index.execute(
            "CREATE VIRTUAL TABLE designs USING fts5(name, description, environment, fields, "
            "tokenize = 'porter unicode61')"
        )
        rows = [(place + 1, *text) for place, text in enumerate(texts)]
        index.executemany(
            "INSERT INTO designs(rowid, name, description, environment, fields) "
            "VALUES (?, ?, ?, ?, ?)",
            rows,
        )
        found = index.execute(
            f"SELECT rowid, bm25(designs, {columns}) AS cost FROM designs "
            "WHERE designs MATCH ? ORDER BY cost, rowid",
            (wanted,),
        ).fetchall()
    return [(rowid - 1, -cost) for rowid, cost in found]


def _words(text: str) -> Iterable[str]:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)  # HalfCheetah is found as a cheetah
    return (word.lower() for word in re.findall(r"[^\W_]+", apart))


def _finished(connection: Connection, task: str | None, owner: str | None) -> list[Row]:
    columns = (jobs.c.id, jobs.c.task, jobs.c.spec, jobs.c.preflight, jobs.c.outcome, jobs.c.origin)
    query = select(*columns, jobs.c.finished_at).where(jobs.c.status == "succeeded")
    if task is not None:
        query = query.where(jobs.c.task == task)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    rows = read_rows(connection, query.order_by(jobs.c.id.desc()).limit(MOST_READ))
    return [row for row in rows if row["outcome"] and row["outcome"]["best"] is not None]


def _may_show(spec: JobSpec, row: Row) -> bool:
    other = load(Task, row["spec"]["task"])
    same = other.name == spec.task.name or (
        (other.environment, other.fitness) == (spec.task.environment, spec.task.fitness)
    )
    if same and not spec.context.same_task:
        return False
    return other.array == spec.task.array and row["outcome"]["verdict"] != "worse"


def _texts(row: Row) -> tuple[str, ...]:
    task = row["spec"]["task"]
    names = (task["name"], task["description"], task["environment"], " ".join(_fields(row)))
    return tuple(" ".join(_words(text)) for text in names)


def _fields(row: Row) -> tuple[str, ...]:
    found: Json = row["preflight"] or {}
    known: Any = found.get("fields") or row["spec"]["task"]["fields"]
    return tuple(field["name"] for field in known)


def _item(connection: Connection, row: Row, score: float | None) -> LibraryItem:
    outcome = load(Outcome, row["outcome"])
    key = read_arm(str(outcome.best))
    assert key is not None  # the native reward is nobody's design
    program = reads.candidate(connection, CandidateKey(row["id"], *key)).candidate.program
    assert program is not None  # it was trained and confirmed
    return LibraryItem(
        job=row["id"],
        candidate=str(outcome.best),
        task=load(Task, row["spec"]["task"]),
        fields=_fields(row),
        source=current_source(program),
        verdict=outcome.verdict,
        evidence=_evidence(row["origin"], outcome),
        finished_at=row["finished_at"],
        score=score,
    )


def _evidence(origin: str | None, outcome: Outcome) -> str:
    told = "" if origin is None else "Imported, and not measured here; as it was told: "
    return f"{told}{outcome.sentence}"


def _example(found: LibraryItem) -> Example:
    return Example(
        job=found.job,
        task=found.task.name,
        description=found.task.description,
        source=found.source,
        evidence=found.evidence,
    )
