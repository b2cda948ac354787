"""Follow a job to its end: a live picture on a terminal, else plain lines or JSON lines."""

from __future__ import annotations

import time
from collections.abc import Iterator

from client.api import Job
from client.console import WAITING, Screen
from client.tally import Tally, line_of
from client.transport import StreamedEvent

REFRESH_SECONDS = 2.0


def watch(job: Job, screen: Screen) -> Job:
    """Show what happens until the job ends or is paused, and return it as it then stands."""
    tally = Tally(job.document)
    if screen.terminal:
        _picture(job, tally, screen)
    else:
        _lines(job, tally, screen)
    if job.refresh().status == "paused" and tally.recent:
        screen.say(tally.obstacle or tally.recent[-1])
    return job


def _lines(job: Job, tally: Tally, screen: Screen) -> None:
    waited = False
    for event in _followed(job, tally):
        if event.seq is not None:
            screen.say(line_of(event))
            screen.emit({"event": dict(event.data)})
        elif tally.waiting and not waited:
            waited = True
            screen.say(WAITING)


def _followed(job: Job, tally: Tally) -> Iterator[StreamedEvent]:
    """Yield every event after the tally has learnt from it; a paused job is not waited for."""
    read_at = 0.0
    for event in job.stream(transient=True):
        now = time.monotonic()
        if event.kind != "end" and now - read_at > REFRESH_SECONDS:
            tally.job, read_at = job.refresh().document, now
        tally.take(event, now)
        yield event
        if event.kind == "progress" and tally.status == "paused":
            return


def _picture(job: Job, tally: Tally, screen: Screen) -> None:
    from rich.live import Live

    from client.picture import draw

    with Live(draw(tally), console=screen.console(), refresh_per_second=4, transient=True) as live:
        for _ in _followed(job, tally):
            live.update(draw(tally))
