"""What happens to a job, as a list and as a stream that can be cut and taken up again."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from api import openapi
from api.answers import answer
from api.dependencies import Here, JobId, Visit
from api.errors import InvalidField, printable
from api.limits import MAX_EVENT
from api.quick import ask
from api.short import Route, arrive, job_in, key_in, short_cut
from api.show import activity_view, event_view
from api.views import EventPage
from core.errors import NotFound, StorageFailed
from core.records.kinds import FINISHED
from core.storage import Activity, Event, Store

router = APIRouter(tags=["events"], route_class=Route)

POLL_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 10.0
PATIENCE_SECONDS = 3.0  # after which a queued job is said to wait for a worker
LONGEST_SECONDS = 900.0
BATCH = 200
USUAL_LIMIT = 100
_STREAM = "text/event-stream"


async def list_events_shortly(request: Request) -> Response | None:
    """Answer a plain request for the first page of a list; a stream is none."""
    if _STREAM in request.headers.get("accept", ""):
        return None
    key, job_id = key_in(request), job_in(request)
    if key is None or job_id is None:
        return None
    return await _page(await arrive(request, key), job_id, 0, USUAL_LIMIT)


@router.get(
    "/jobs/{job_id}/events",
    operation_id="list_events",
    summary="Read or follow a job's events",
    response_model=EventPage,
    responses=openapi.refusals(404, 422) | openapi.EVENT_STREAM,
)
@short_cut(list_events_shortly)
async def list_events(
    job_id: JobId,
    here: Here,
    request: Request,
    after: Annotated[
        int, Query(ge=0, le=MAX_EVENT, description="Number of the last one seen.")
    ] = 0,
    limit: Annotated[
        int, Query(ge=1, le=1_000, description="How many at most (list only).")
    ] = USUAL_LIMIT,
    last_event_id: Annotated[
        str | None, Header(description="As `after`; browsers send it when they reconnect.")
    ] = None,
) -> Response:
    """Return events in order; with `Accept: text/event-stream`, go on sending them as they happen.

    In the stream, `id` is the event's number, `event` its kind, and `data` the event. Between them come
    `progress` events without a number, which say what is being done right now, or that the job has been
    `waiting` for a worker for a while, and a last one named `end` when there will be no more.
    """
    start = max(after, read_number(last_event_id))
    if _STREAM in request.headers.get("accept", ""):
        await run_in_threadpool(
            here.store.status, job_id
        )  # an answer of its own, which a stream that has begun cannot give
        here.take_a_stream()
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return EventSourceResponse(follow(here, job_id, start), headers=headers)
    return await _page(here, job_id, start, limit)


async def _page(here: Visit, job_id: str, start: int, limit: int) -> Response:
    events = await ask(
        here.swift,
        lambda swift: swift.events(here.caller, job_id, start, limit),
        lambda: here.store.events(job_id, after=start, limit=limit),
    )
    found = [event_view(event) for event in events]
    return answer(EventPage(data=found, next=found[-1].id if found else start))


def read_number(last_event_id: str | None) -> int:
    """Read what a browser sends back; nothing means the beginning.

    Raises:
        InvalidField: it is no number that we can have sent.
    """
    text = (last_event_id or "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InvalidField(
            repr(printable(text, 40)),
            pointer="header/last-event-id",
            expected="the number of an event",
            hint="Leave the header Last-Event-ID out to begin with the first event.",
        )
    return int(text)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a job: what is new, what is being done, and whether that is all."""

    events: tuple[Event, ...]
    activity: tuple[Activity, ...]
    status: str

    @property
    def ended(self) -> bool:
        """Tell whether the job has ended and every event of it is in hand."""
        return self.status in FINISHED and len(self.events) < BATCH


def look(store: Store, job_id: str, after: int) -> Look:
    """Read the job first, so that an ended one has its last event among those read after."""
    status = store.status(job_id)
    events = store.events(job_id, after=after, limit=BATCH)
    activity = () if status in FINISHED else store.activity(job_id)
    return Look(events, activity, status)


async def follow(here: Visit, job_id: str, after: int) -> AsyncIterator[bytes]:
    """Yield a job's events after a number, as they happen, until it or the server ends.

    A stream that has grown old is cut as well: whoever comes back for the rest shows the key again.
    """
    said = ""
    began = spoken_at = time.monotonic()
    while not here.house.stopping and time.monotonic() - began < LONGEST_SECONDS:
        try:
            seen = await run_in_threadpool(look, here.store, job_id, after)
        except (StorageFailed, NotFound):
            return  # the client comes back with its last number, and is told why by the first answer
        for event in seen.events:
            after = event.seq
            yield _numbered(event)
        doing = _doing(seen, patient=time.monotonic() - began < PATIENCE_SECONDS)
        if seen.events or doing != said:
            said, spoken_at = doing, time.monotonic()
            yield format_sse_event(event="progress", data_str=doing)
        if seen.ended:
            yield format_sse_event(event="end", data_str=json.dumps({"status": seen.status}))
            return
        if time.monotonic() - spoken_at > KEEP_ALIVE_SECONDS:
            spoken_at = time.monotonic()
            yield KEEPALIVE_COMMENT
        if len(seen.events) < BATCH:
            await anyio.sleep(POLL_SECONDS)


def _numbered(event: Event) -> bytes:
    return format_sse_event(
        event=event.kind, id=str(event.seq), data_str=event_view(event).model_dump_json()
    )


def _doing(seen: Look, patient: bool) -> str:
    steps = [activity_view(item).model_dump(exclude={"age_seconds"}) for item in seen.activity]
    waiting = seen.status == "queued" and not steps and not patient
    return json.dumps({"status": seen.status, "waiting": waiting, "activity": steps})
