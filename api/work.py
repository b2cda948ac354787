"""What was used, who works, and why a job waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Annotated

from fastapi import APIRouter, Query

from api import openapi
from api.dependencies import Here
from api.work_views import (
    DayView,
    KeyUseView,
    QueueView,
    UsageView,
    WaitingView,
    WorkerList,
    WorkerView,
)
from core.loop import KINDS, queue_of, read_step
from core.records.kinds import FINISHED
from core.storage import Activity, Day, KeyUse, Queued, StoredJob, StoredWorker
from core.waiting import Crew, Waiting, Worker, why_waiting

router = APIRouter(tags=["work"])

MOST_DAYS = 366
AT_ONCE = 100
MOST_SHOWN = 1_000


@router.get(
    "/usage",
    operation_id="read_usage",
    summary="Read what your jobs used",
    responses=openapi.refusals(422),
)
def read_usage(
    here: Here,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="How far back.")] = 30,
) -> UsageView:
    """Return environment steps, tokens and money, from what was stored on each day: by day, by key."""
    return usage_view(here.store.usage(days), here.store.usage_by_key(days))


@router.get("/workers", operation_id="list_workers", summary="List workers")
def list_workers(here: Here) -> WorkerList:
    """Return the workers with their slots, and when each was last heard of."""
    return WorkerList(data=[worker_view(n, one) for n, one in enumerate(here.store.crew.workers())])


@router.get("/queue", operation_id="read_queue", summary="Read what waits, and why")
def read_queue(here: Here) -> QueueView:
    """Return your jobs that have not ended, how many are ahead of each, and what it waits for."""
    jobs = here.store.glances.waiting(MOST_SHOWN)
    crew = crew_of(here.store.crew.workers())
    ahead = here.store.crew.ahead_of(jobs)
    announced = here.store.glances.announced([job.id for job in jobs])
    data = [
        waiting_view(job, before, here.store.activity(job.id), crew, announced.get(job.id, ()))
        for job, before in zip(jobs, ahead, strict=True)
    ]
    return QueueView(data=data, workers=crew.workers, slots=crew.slots, busy=crew.busy)


# --- views ------------------------------------------------------------------------------------


def usage_view(days: Sequence[Day], keys: Sequence[KeyUse]) -> UsageView:
    """Show what was used."""
    shown = [DayView(**asdict(day)) for day in days]
    names = [field.name for field in fields(Day) if field.name != "day"]
    sums = {name: sum(getattr(day, name) for day in days) for name in names}
    used = [_key_use_view(one) for one in keys]
    return UsageView(
        data=shown, keys=used, total=DayView(day=shown[-1].day if shown else "", **sums)
    )


def _key_use_view(one: KeyUse) -> KeyUseView:
    sums = {name: value for name, value in asdict(one.used).items() if name != "day"}
    return KeyUseView(key_id=one.key_id, name=one.name, **sums)


def worker_view(number: int, worker: StoredWorker) -> WorkerView:
    """Show a worker under a number, not under its machine's name."""
    return WorkerView(
        name=f"worker {number + 1}",
        queues=list(worker.queues),
        slots=worker.slots,
        busy=worker.busy,
        device=worker.device,
        alive=worker.alive,
        started_at=worker.started_at,
        silent_seconds=round(worker.silent_seconds, 1),
    )


def crew_of(workers: Sequence[StoredWorker]) -> Crew:
    """Return all living workers together."""
    alive = [worker for worker in workers if worker.alive]
    return Crew(tuple(Worker(one.queues, one.slots, one.busy) for one in alive))


def needs_of(announced: Iterable[str]) -> tuple[str, ...]:
    """Return which queues somebody has to serve for one of some steps to be taken, in order."""
    known = [key for key in announced if key.partition("/")[0] in KINDS]  # else of a newer version
    return tuple(sorted({queue_of(read_step(key)) for key in known}))


def waiting_of(
    job: Queued | StoredJob, ahead: int, doing: Sequence[Activity], announced: Iterable[str]
) -> Waiting:
    """Return how a job stands in the line."""
    resting = [
        one.progress.note or "a step of it rests"
        for one in doing
        if one.progress is not None and one.progress.phase == "waiting" and not one.owner
    ]
    in_hand = sum(bool(one.owner) for one in doing)
    return Waiting(job.status, ahead, in_hand, resting, needs_of(announced))


def waiting_view(
    job: Queued | StoredJob,
    ahead: int,
    doing: Sequence[Activity],
    crew: Crew,
    announced: Iterable[str] = (),
) -> WaitingView:
    """Show a job that has not ended; `announced` are the keys of its steps that nobody has taken."""
    waiting = waiting_of(job, ahead, doing, announced)
    return WaitingView(
        job_id=job.id,
        name=job.name,
        status=job.status,
        phase=job.phase or None,
        ahead=ahead,
        in_hand=waiting.in_hand,
        reason=None if job.status in FINISHED else why_waiting(waiting, crew),
    )
