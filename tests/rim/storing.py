"""Small verbs for tests of the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from core.records.asking import Exchange, Prompt, Reply, Usage
from core.records.rounds import Candidate
from core.records.spec import JobSpec
from core.storage import ClaimedStep, Store, StoredJob
from tests.builders import a_spec, an_outcome

T = TypeVar("T")

LONG, SHORT = 60.0, 0.05  # leases in seconds
OUTCOME = an_outcome()


def a_job(
    store: Store, spec: JobSpec | None = None, key: str | None = None, **given: Any
) -> StoredJob:
    named = {"idempotency_key": key, "body_sha256": "0" * 64, "name": None, "labels": {}}
    job, _ = store.create_job(spec or a_spec(), **named, **given)
    return job


def a_claim(
    store: Store, job_id: str, step: str = "propose/0", owner: str = "worker", lease: float = LONG
) -> ClaimedStep:
    claim = store.claim(job_id, step, owner, lease)
    assert claim is not None
    claim.begin()
    return claim


def a_step(store: Store, spec: JobSpec | None = None) -> ClaimedStep:
    """The claimed first step of a new job."""
    return a_claim(store, a_job(store, spec).id)


def an_exchange(iteration: int = 0, slot: int = 0, attempt: int = 0, text: str = "hi") -> Exchange:
    reply = Reply(text, usage=Usage(100, 20), latency_seconds=1.5)
    return Exchange(iteration, slot, attempt, Prompt((("user", "design"),)), reply, "openai")


def propose(step: ClaimedStep, *candidates: Candidate) -> None:
    """Store candidates as a Propose step does: without what trainings will add."""
    for candidate in candidates:
        step.add_candidate(candidate)
    step.end_proposing(candidates[0].iteration)


def kinds(store: Store, job_id: str) -> list[str]:
    return [event.kind for event in store.events(job_id, limit=1000)]


def until(condition: Callable[[], T], seconds: float = 10.0) -> T:
    """Return what the condition gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)
    return found


def at_once(works: list[Callable[[], T]]) -> list[T]:
    """Start all works at the same moment, each in a thread, and return what they gave."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))
