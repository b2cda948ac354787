"""The sweep: look at every unfinished job again and again, so that a lost message costs seconds."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog
from celery import Celery

from core.errors import NotFound
from core.storage import Store
from workers.messages import dispatch

log = structlog.get_logger("rewardsmith.sweep")

PERIOD_SECONDS = 1.0


def sweep_once(store: Store, celery: Celery) -> int:
    """Settle and announce what is due in every unfinished job; return the number of announced steps.

    A broker that is away is every job's trouble alike: each is logged, and the next sweep tries again.
    """
    announced = 0
    for job_id in store.unfinished_jobs():
        try:
            store.settle(job_id)
            announced += dispatch(store, celery, job_id)
        except NotFound:
            continue  # deleted since the list was read
        except Exception:
            # One job that cannot be read must not keep the sweep from all the others.
            log.exception("job not swept", job_id=job_id)
    return announced


def sweep_until(
    stopping: threading.Event, store: Store, celery: Celery, alive_file: Path | None
) -> None:
    """Sweep once a second until told to stop; a database or broker that is away is waited for.

    After each sweep that went well `alive_file` is touched: a process that is up but cut off from its
    database looks as dead as it is.
    """
    while not stopping.wait(PERIOD_SECONDS):
        try:
            sweep_once(store, celery)
            if alive_file is not None:
                alive_file.touch()
        except Exception:
            # Whatever it is, the next second may be better; a sweep that ends heals nothing any more.
            log.exception("sweep failed")
