"""The live part of a job's page: the same HTML again, as soon as something has happened.

Messages bear the number of the last event that they tell of, so that a stream that was cut begins anew
only if something was missed.  What is being done right now changes often and is small; the rest is
sent when an event has happened, and not more often than people can read.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from api.dependencies import JobId, Visit
from api.events import KEEP_ALIVE_SECONDS, LONGEST_SECONDS, read_number
from api.pages import job
from api.pages.door import Reader
from api.pages.render import text_of
from api.pages.trouble import page_router
from core.errors import NotFound, StorageFailed
from core.records.kinds import FINISHED

router = page_router()

LOOK_SECONDS = 1.0
CALM_SECONDS = 2.0  # between two times that the whole is sent


@router.get("/jobs/{job_id}/feed")
async def follow_job(
    request: Request,
    job_id: JobId,
    here: Reader,
    after: int = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Return the stream."""
    await run_in_threadpool(here.store.job, job_id)
    here.take_a_stream()
    start = max(after, read_number(last_event_id))
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    stream = _follow(here, job_id, start, request.url.path.removesuffix("/feed"))
    return EventSourceResponse(stream, headers=headers)


@dataclass(slots=True)
class Told:
    """What the reader of a stream has seen."""

    after: int
    activity: str = ""
    whole_at: float = 0.0


async def _follow(here: Visit, job_id: str, after: int, path: str) -> AsyncIterator[bytes]:
    told, began = Told(after), time.monotonic()
    spoken_at = began
    while not here.house.stopping and time.monotonic() - began < LONGEST_SECONDS:
        try:
            text, ended = await run_in_threadpool(_news, here, job_id, told, path)
        except (StorageFailed, NotFound):
            return
        if text:
            spoken_at = time.monotonic()
            yield format_sse_event(id=str(told.after), data_str=text)
        elif time.monotonic() - spoken_at > KEEP_ALIVE_SECONDS:
            spoken_at = time.monotonic()
            yield KEEPALIVE_COMMENT
        if ended:
            yield format_sse_event(event="end", data_str="ended")
            return
        await anyio.sleep(LOOK_SECONDS)


def _news(here: Visit, job_id: str, told: Told, path: str) -> tuple[str, bool]:
    """Return what is new as HTML, and whether there will be no more."""
    stored = here.store.job(job_id)
    ended = stored.status in FINISHED
    parts = []
    activity = text_of("job/now.html", path=path, **job.activity(here, job_id))
    if activity != told.activity:
        told.activity = activity
        parts.append(text_of("job/partial.html", target="#now", html=activity))
    calm = time.monotonic() - told.whole_at >= CALM_SECONDS
    if stored.event_count > told.after and (calm or ended):
        facts = job.facts(here, job_id)
        told.after, told.whole_at = stored.event_count, time.monotonic()
        whole = text_of("job/facts.html", path=path, **facts)
        parts.append(text_of("job/partial.html", target="#facts", html=whole))
    return "".join(parts), ended
