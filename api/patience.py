"""`Prefer: wait=30`: an answer that is held until the job has ended, or for that long."""

from __future__ import annotations

import re
import time
from typing import Annotated

import anyio
from fastapi import Header, Response
from fastapi.concurrency import run_in_threadpool

from api.dependencies import Visit
from core.records.kinds import FINISHED

LONGEST_SECONDS = 60.0
POLL_SECONDS = 0.25
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,9})(?:$|[,;\s])")

Prefer = Annotated[
    str | None,
    Header(
        max_length=200,
        description="`wait=30` holds the answer until the job has ended, 60 seconds at most.",
    ),
]


def asked_seconds(prefer: str | None) -> float:
    """Return for how long the answer may be held; 0 if that was not asked for.

    >>> asked_seconds("respond-async, wait=5"), asked_seconds(None), asked_seconds("wait=900")
    (5.0, 0.0, 60.0)
    """
    found = _WAIT.search(prefer or "")
    return min(float(found[1]), LONGEST_SECONDS) if found else 0.0


def patience_for(here: Visit, prefer: str | None) -> float:
    """Return for how long the answer may be held; to be asked before anything is changed.

    Who may wait counts as an open event stream of its owner from then on.

    Raises:
        ApiError: too many answers of the same owner are held already.
    """
    seconds = asked_seconds(prefer)
    if seconds:
        here.take_a_stream()
    return seconds


async def hold(here: Visit, job_id: str, seconds: float, response: Response) -> None:
    """Wait until a job has ended, the time is over, or the server ends; say so in the answer.

    Raises:
        NotFound: no such job.
    """
    until = time.monotonic() + seconds
    here.leave()
    while not here.house.stopping:
        status = await run_in_threadpool(here.store.status, job_id)
        left = until - time.monotonic()
        if status in FINISHED or left <= 0:
            break
        await anyio.sleep(min(POLL_SECONDS, left))
    response.headers["Preference-Applied"] = f"wait={seconds:g}"
