"""What must hold after everything has come to rest: each check returns what breaks it, so zero is good.

Checks are queries where a query can say it, and read the stored records where it cannot.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from core import choosing, searching
from core.records.kinds import FINISHED
from core.storage import Store
from core.storage.lifecycle import ALLOWED
from core.storage.tables import metadata
from tests.chaos.provider import DEAR

CANCEL_SECONDS = 2.0
BOUNDLESS = frozenset({"no_valid_candidate"})
"""Reasons for which a job may fail without anything having been lost."""


@dataclass(frozen=True)
class Scene:
    """What is looked at, and what only the outside knows.

    Attributes:
        accepted: ids for which a client was told that the job exists, by the key that it sent.
        canaries: secrets, by a name.
        logs:     files that processes wrote.
        living:   pids of children that live without a worker.
        leaks:    prompts in which the endpoint saw a secret.
        answered: tokens of the answers that the endpoint gave in full.
        level:    isolation that every run must have had.
        seen:     what somebody with another key was told.
    """

    engine: Engine
    store: Store
    artifacts: Path
    accepted: Mapping[str, str]
    canaries: Mapping[str, str] = field(default_factory=dict)
    logs: Sequence[Path] = ()
    living: Sequence[int] = ()
    leaks: Sequence[str] = ()
    answered: int = 0
    level: int = 3
    seen: Sequence[str] = ()

    def rows(self, query: str, **given: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query), given))

    def ids(self) -> list[str]:
        return [row.id for row in self.rows("SELECT id FROM jobs ORDER BY id")]

    def events(self) -> dict[str, list[Any]]:
        found = defaultdict(list)
        query = "SELECT * FROM events ORDER BY job_id, seq"
        for row in self.rows(query):
            found[row.job_id].append(row)
        return found


def _data(row: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(row.data) if isinstance(row.data, str) else row.data
    return told


def accepted_jobs_exist_once(scene: Scene) -> list[str]:
    known = {r.idempotency_key: r.id for r in scene.rows("SELECT id, idempotency_key FROM jobs")}
    wrong = [f"{key} -> {job}" for key, job in scene.accepted.items() if known.get(key) != job]
    count = scene.rows("SELECT count(*) AS n, count(DISTINCT idempotency_key) AS k FROM jobs")[0]
    return wrong + (["doubled keys"] if count.n != count.k else [])


def every_job_ends(scene: Scene) -> list[str]:
    query = "SELECT id, status, failure_reason, failure_message FROM jobs"
    rows = scene.rows(query)
    idle = [f"{r.id} is {r.status}" for r in rows if r.status not in FINISHED]
    odd = [r for r in rows if r.status == "failed" and r.failure_reason not in BOUNDLESS]
    return idle + [f"{r.id} failed: {r.failure_reason}: {r.failure_message}" for r in odd]


def nothing_is_missing_in_a_success(scene: Scene) -> list[str]:
    wrong = []
    for job in scene.rows("SELECT id FROM jobs WHERE status = 'succeeded'"):
        history = scene.store.history(job.id)
        planned = len(history.iterations) == history.spec.iterations
        if not planned and searching.budget_exhausted(history) is None:
            wrong.append(f"{job.id}: {len(history.iterations)} iterations")
        for iteration in history.iterations:
            if len(iteration.candidates) != history.spec.candidates or not iteration.feedback:
                wrong.append(f"{job.id}: iteration {iteration.number} is not whole")
            for one in iteration.candidates:
                told = one.runs or one.rejection or one.screens
                reasons = [run.failure for run in one.runs if run.status == "failed"]
                if one.status == "proposed" or not told or not all(reasons):
                    wrong.append(f"{job.id}: candidate {one.key} is {one.status}")
        if not searching.native_complete(history) or history.outcome is None:
            wrong.append(f"{job.id}: no baseline or no outcome")
    return wrong


def nothing_is_doubled(scene: Scene) -> list[str]:
    wrong = []
    for job, events in scene.events().items():
        if [event.seq for event in events] != list(range(1, len(events) + 1)):
            wrong.append(f"{job}: the numbers of its events have gaps")
        kinds = Counter(event.kind for event in events)
        ends = kinds["job.completed"]
        if ends > 1:
            wrong.append(f"{job} ended {ends} times")
        told = Counter(
            (e.kind, _data(e)["key"], _data(e).get("rung"))
            for e in events
            if e.kind in ("candidate.proposed", "candidate.rejected")
        )
        wrong += [f"{job}: {what} told {n} times" for what, n in told.items() if n > 1]
    return wrong


def no_stale_owner_writes(scene: Scene) -> list[str]:
    """After a step was taken over, nothing bears the fence of its former owner."""
    wrong = []
    for job, events in scene.events().items():
        over: dict[int, int] = {}
        for event in events:
            if event.fence is not None and event.fence in over:
                wrong.append(f"{job}: event {event.seq} ({event.kind}) by fence {event.fence}")
            after = _data(event).get("after")
            if event.kind == "log" and after is not None:
                over[after] = event.seq
    return wrong


def candidates_have_their_code_and_exchange(scene: Scene) -> list[str]:
    wrong = []
    for job in scene.ids():
        history = scene.store.history(job)
        asked = {(e.iteration, e.slot) for e in scene.store.exchanges(job)}
        for one in (c for i in history.iterations for c in i.candidates):
            program = one.program
            if program and hashlib.sha256(program.source.encode()).hexdigest() != program.sha256:
                wrong.append(f"{job}: the code of {one.key} is not what its hash says")
            free = one.operator in ("parameters", "given")
            unasked = one.checks and one.checks[0].rule == "budget"
            if not free and not unasked and (one.iteration, one.number) not in asked:
                wrong.append(f"{job}: {one.key} came from no exchange")
    return wrong


def what_was_answered_became_candidates(scene: Scene) -> list[str]:
    """No job ends under a proposal of which an answer is stored; who cancels it wants none."""
    wrong = []
    for job in scene.rows("SELECT id FROM jobs WHERE status IN ('succeeded', 'failed')"):
        made = {
            (c.iteration, c.number)
            for i in scene.store.history(job.id).iterations
            for c in i.candidates
        }
        told = [e for e in scene.store.exchanges(job.id) if e.kind == "program"]
        lost = sorted({(e.iteration, e.slot) for e in told} - made)
        wrong += [f"{job.id}: the answers of {i}.{slot} came to nothing" for i, slot in lost]
    return wrong


def artifacts_are_whole(scene: Scene) -> list[str]:
    query = "SELECT DISTINCT sha256 FROM artifacts"
    named = {row.sha256 for row in scene.rows(query)}
    named |= {r.weights for r in scene.rows("SELECT weights FROM runs WHERE weights IS NOT NULL")}
    saved = scene.rows("SELECT checkpoint FROM saved WHERE checkpoint IS NOT NULL")
    named |= {row.checkpoint for row in saved}
    wrong = []
    for sha256 in named:
        path = scene.artifacts / sha256[:2] / sha256[2:4] / sha256
        if not path.is_file():
            wrong.append(f"{sha256} is named and not there")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            wrong.append(f"{sha256} holds other bytes")
    return wrong


def costs_add_up(scene: Scene) -> list[str]:
    query = """
        SELECT j.id, j.tokens, j.money, j.env_steps, j.spec,
          (SELECT COALESCE(SUM(COALESCE(prompt_tokens, 0) + COALESCE(completion_tokens, 0)), 0)
             FROM exchanges e WHERE e.job_id = j.id AND e.designer = 'openai') AS paid,
          (SELECT COALESCE(SUM(tokens), 0) FROM reservations r WHERE r.job_id = j.id) AS reserved,
          (SELECT COUNT(*) FROM exchanges e
             WHERE e.job_id = j.id AND prompt_tokens + completion_tokens = :dear) +
          (SELECT COUNT(*) FROM reservations r WHERE r.job_id = j.id AND tokens = :dear) AS dear,
          (SELECT COALESCE(SUM(env_steps), 0) FROM runs r WHERE r.job_id = j.id) AS trained
        FROM jobs j"""
    wrong, charged = [], 0
    for row in scene.rows(query, dear=sum(DEAR)):
        charged += row.tokens
        if row.tokens != row.paid + row.reserved:
            wrong.append(f"{row.id}: {row.tokens} tokens, but {row.paid} + {row.reserved}")
        if row.env_steps != row.trained:
            wrong.append(f"{row.id}: {row.env_steps} steps, but {row.trained} were trained")
        spec = json.loads(row.spec) if isinstance(row.spec, str) else row.spec
        budget = (spec.get("budget") or {}).get("tokens")
        # What an answer costs beyond what was set aside for it is known when it is there.
        if budget is not None and row.tokens > budget + row.dear * sum(DEAR):
            wrong.append(f"{row.id}: {row.tokens} tokens of a budget of {budget}")
    if charged < scene.answered:
        wrong.append(f"{charged} tokens charged, but {scene.answered} were answered")
    return wrong


def the_best_is_the_best(scene: Scene) -> list[str]:
    wrong = []
    for job in scene.rows("SELECT id, best_candidate FROM jobs WHERE status = 'succeeded'"):
        history = scene.store.history(job.id)
        best = choosing.winner(history)
        if best is None or job.best_candidate != best.key:
            wrong.append(f"{job.id}: {job.best_candidate}, but {best and best.key} scored best")
        for one in (c for i in history.iterations for c in i.candidates):
            scored = [r.fitness for r in one.runs if r.status == "scored"]
            if any(value is None or not math.isfinite(value) for value in scored):
                wrong.append(f"{job.id}: {one.key} is ranked by no number")
    return wrong


def nobody_holds_what_is_finished(scene: Scene) -> list[str]:
    query = """
        SELECT c.job_id, c.step_key FROM claims c JOIN jobs j ON j.id = c.job_id
        WHERE j.status IN ('succeeded', 'failed', 'cancelled') AND c.owner IS NOT NULL"""
    held = [f"{row.job_id}: {row.step_key} is held" for row in scene.rows(query)]
    return held + [f"process {pid} outlived its worker" for pid in scene.living]


def cancelled_jobs_stay_silent(scene: Scene) -> list[str]:
    wrong = []
    for job, events in scene.events().items():
        asked = [e for e in events if e.message == "Cancellation was requested."]
        cancelled = [e for e in events if _data(e).get("status") == "cancelled"]
        if not cancelled:
            continue
        since = _moment(asked[0].created_at) if asked else _moment(cancelled[0].created_at)
        end = cancelled[0].seq
        late = [
            e
            for e in events
            if e.fence is not None and (_moment(e.created_at) - since) > CANCEL_SECONDS
        ]
        wrong += [f"{job}: event {e.seq} ({e.kind}) after it was cancelled" for e in late]
        wrong += [f"{job}: event {e.seq} after its end" for e in events if e.seq > end]
    return wrong


def _moment(value: Any) -> float:
    from datetime import UTC, datetime

    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return float(moment.timestamp())


def states_follow_the_graph(scene: Scene) -> list[str]:
    wrong = []
    final = {r.id: r.status for r in scene.rows("SELECT id, status FROM jobs")}
    for job, events in scene.events().items():
        state = "queued"
        for event in events:
            told = _data(event)
            if "from" not in told or "status" not in told:
                continue
            if told["from"] != state or told["status"] not in ALLOWED[state]:  # type: ignore[index]
                wrong.append(
                    f"{job}: event {event.seq} goes from {told['from']}, and it was {state}"
                )
            state = told["status"]
        if state != final[job]:
            wrong.append(f"{job} is {final[job]}, and its events end with {state}")
    return wrong


def secrets_stay_secret(scene: Scene) -> list[str]:
    wrong = [f"a prompt held {leak}…" for leak in scene.leaks]
    for name, secret in scene.canaries.items():
        for table in metadata.sorted_tables:
            for column in table.c:
                held = f"CAST({column.name} AS TEXT) LIKE :x"
                query = f"SELECT count(*) AS n FROM {table.name} WHERE {held}"
                if scene.rows(query, x=f"%{secret}%")[0].n:
                    wrong.append(f"{name} stands in {table.name}.{column.name}")
        needle = secret.encode()
        files = [*scene.logs, *(p for p in scene.artifacts.rglob("*") if p.is_file())]
        wrong += [f"{name} stands in {path.name}" for path in files if needle in path.read_bytes()]
    return wrong


def everything_ran_behind_walls(scene: Scene) -> list[str]:
    query = "SELECT count(*) AS n FROM runs WHERE isolation_level < :level"
    weak = scene.rows(query, level=scene.level)[0].n
    return [f"{weak} runs below level {scene.level}"] if weak else []


def every_number_is_finite(scene: Scene) -> list[str]:
    wrong = []
    for table in metadata.sorted_tables:
        for column in table.c:
            if str(column.type) not in ("DOUBLE", "DOUBLE_PRECISION", "FLOAT"):
                continue
            for (value,) in scene.rows(f"SELECT {column.name} FROM {table.name}"):
                if value is not None and not math.isfinite(value):
                    wrong.append(f"{table.name}.{column.name} holds {value}")
    return wrong


def strangers_see_nothing(scene: Scene) -> list[str]:
    return list(scene.seen)


INVARIANTS: Mapping[str, Callable[[Scene], list[str]]] = {
    "I1": accepted_jobs_exist_once,
    "I2": every_job_ends,
    "I3": nothing_is_missing_in_a_success,
    "I4": nothing_is_doubled,
    "I5": no_stale_owner_writes,
    "I6": candidates_have_their_code_and_exchange,
    "I7": artifacts_are_whole,
    "I8": costs_add_up,
    "I9": the_best_is_the_best,
    "I10": nobody_holds_what_is_finished,
    "I11": cancelled_jobs_stay_silent,
    "I12": states_follow_the_graph,
    "I13": secrets_stay_secret,
    "I14": everything_ran_behind_walls,
    "I15": every_number_is_finite,
    "I16": strangers_see_nothing,
    "I17": what_was_answered_became_candidates,
}


def broken(scene: Scene) -> dict[str, list[str]]:
    """Return the invariants that do not hold, and by what."""
    found = {name: check(scene) for name, check in INVARIANTS.items()}
    return {name: wrong for name, wrong in found.items() if wrong}
