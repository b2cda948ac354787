"""The sweep: look at unfinished jobs again and again, so that a lost message costs seconds.

Once a second at those that nobody seems to see to, which one query finds; at every other one a tenth as
often, because only its whole history tells whether something is missing.
"""

from __future__ import annotations

import threading
from pathlib import Path

import structlog
from celery import Celery

from core.errors import NotFound, StorageFailed
from core.storage import Store
from workers.messages import BrokerAway, Take, dispatch

log = structlog.get_logger("rewardsmith.sweep")

PERIOD_SECONDS = 1.0
ROUNDS = 10  # sweeps in which every unfinished job is looked at once


def sweep_once(
    store: Store, celery: Celery, take: Take | None = None, round_number: int | None = None
) -> int:
    """Settle and announce what is due; return the number of announced steps.

    A broker that is away is asked once; what is due is then carried out here, where there are slots.

    Args:
        store:        that knows the jobs.
        celery:       that is told of steps.
        take:         carries a step out in this process; None in one that carries out nothing.
        round_number: which tenth of the busy jobs is looked at as well; None for none.
    """
    announced, told = 0, celery
    for job_id in _due(store, round_number):
        try:
            store.settle(job_id)
            announced += dispatch(store, told, job_id, take)
        except NotFound:
            continue  # deleted since the list was read
        except BrokerAway as away:
            if told is not None:
                log.warning("broker away", reason=str(away))
            told = None
        except StorageFailed as error:
            log.warning("job not swept", job_id=job_id, reason=str(error))
        except Exception:
            # One job that cannot be read must not keep the sweep from all the others.
            log.exception("job not swept", job_id=job_id)
    return announced


def _due(store: Store, round_number: int | None) -> list[str]:
    due = dict.fromkeys(store.due_jobs())
    if round_number is not None:
        every = store.unfinished_jobs()
        due |= dict.fromkeys(every[round_number % ROUNDS :: ROUNDS])
    return list(due)


def sweep_until(
    stopping: threading.Event,
    store: Store,
    celery: Celery,
    alive_file: Path | None,
    take: Take | None = None,
) -> None:
    """Sweep once a second until told to stop; a database or broker that is away is waited for.

    After each sweep that went well `alive_file` is touched: a process that is up but cut off from its
    database looks as dead as it is.
    """
    number = 0
    while not stopping.wait(PERIOD_SECONDS):
        number += 1
        try:
            sweep_once(store, celery, take, number)
            if alive_file is not None:
                alive_file.touch()
        except StorageFailed as error:
            log.warning("database away", reason=str(error))
        except Exception:
            # Whatever it is, the next second may be better; a sweep that ends heals nothing any more.
            log.exception("sweep failed")
