"""The sweep: look at every unfinished job again and again, so that a lost message costs seconds."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from core.errors import NotFound, StorageFailed
from core.storage import Store
from workers.messages import dispatch

log = structlog.get_logger("rewardsmith.sweep")

PERIOD_SECONDS = 1.0


def sweep_once(store: Store, celery: Celery) -> int:
    """Settle and announce what is due in every unfinished job; return how many steps were announced."""
    announced = 0
    for job_id in store.unfinished_jobs():
        try:
            store.settle(job_id)
            announced += dispatch(store, celery, job_id)
        except NotFound:
            continue  # deleted since the list was read
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
        except (StorageFailed, OperationalError, OSError) as error:
            log.warning("sweep failed", error=str(error))
