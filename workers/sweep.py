"""The sweep: look at unfinished jobs again and again, so that a lost message costs seconds.

Once a second at those that nobody sees to; where this worker has a free slot, at those whose steps were
announced and wait, a page at a time and oldest first; and at a few others, because only its whole
history tells whether something of a job is missing.  However long the queue is, a sweep looks at few of
those who merely wait in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from celery import Celery

from core.errors import NotFound, StorageFailed
from core.loop import QUEUES
from core.storage import Store
from workers.crew import Crew
from workers.messages import BrokerAway, dispatch, kinds_of

log = structlog.get_logger("rewardsmith.sweep")

PERIOD_SECONDS = 1.0
SHARE = 0.2  # of the time that sweeps may take, however long the queue is, …
LONGEST_SECONDS = 5.0  # … and the pause that they make for it at most
OTHERS = 10  # jobs in a sweep that nothing points at
PAGE = 20  # of jobs whose steps wait


@dataclass(slots=True)
class Sweep:
    """Settles and announces what is due.

    Attributes:
        store:  that knows the jobs.
        celery: that is told of steps.
        crew:   that carries steps out in this process; None in one that carries out nothing.
    """

    store: Store
    celery: Celery
    crew: Crew | None = None
    _told: Celery | None = field(init=False, default=None)
    _after: str = field(init=False, default="")
    _passed: str = field(init=False, default="")

    def once(self) -> int:
        """Look at what is due, and return the number of announced steps.

        A broker that is away is asked once; what is due is then done here, where there are slots.

        Raises:
            StorageFailed: the database cannot be asked.
        """
        self._told = self.celery
        return sum(self._look(job_id, again) for job_id, again in self._due())

    def _due(self) -> Iterator[tuple[str, bool]]:
        """Yield jobs, each once, and whether steps that were announced before are announced again."""
        seen = set[str]()
        for job_id, again in self._found():
            if job_id not in seen:
                seen.add(job_id)
                yield job_id, again

    def _found(self) -> Iterator[tuple[str, bool]]:
        yield from ((job_id, True) for job_id in self.store.neglected_jobs())
        yield from ((job_id, True) for job_id in self._unheard())
        others = self.store.unfinished_jobs(self._after, OTHERS)
        self._after = others[-1] if len(others) == OTHERS else ""
        yield from ((job_id, False) for job_id in others)

    def _unheard(self) -> Iterator[str]:
        """Yield jobs whose steps wait, for as long as one of them could be carried out here.

        Where there is no slot somebody else has one, and finds them; or nobody has, and more messages
        would only wait with the others.  Behind a page that left slots free the next sweep goes on:
        what was announced may not be wanted any more, and then it stands there for good.
        """
        kinds = kinds_of(QUEUES if self.crew is None else self.crew.queues)
        waiting = self.store.unheard_jobs(kinds, PAGE, self._passed)
        for looked_at, job_id in enumerate(waiting):
            if self.crew is not None and not self.crew.has_room():
                self._passed = "" if looked_at else self._passed
                return
            yield job_id
        self._passed = waiting[-1] if len(waiting) == PAGE else ""

    def _look(self, job_id: str, again: bool) -> int:
        try:
            self.store.settle(job_id)
            take = None if self.crew is None else self.crew.take
            return dispatch(self.store, self._told, job_id, take, again=again)
        except NotFound:
            return 0  # deleted since the list was read
        except BrokerAway as away:
            if self._told is not None:
                log.warning("broker away", reason=str(away))
            self._told = None
        except StorageFailed as error:
            log.warning("job not swept", job_id=job_id, reason=str(error))
        except Exception:
            # One job that cannot be read must not keep the sweep from all the others.
            log.exception("job not swept", job_id=job_id)
        return 0


def sweep_until(stopping: threading.Event, sweep: Sweep, alive_file: Path | None) -> None:
    """Sweep once a second until told to stop; a database or broker that is away is waited for.

    After each sweep that went well `alive_file` is touched: a process that is up but cut off from its
    database looks as dead as it is.
    """
    pause = PERIOD_SECONDS
    while not stopping.wait(pause):
        begun = time.monotonic()
        try:
            sweep.once()
            if alive_file is not None:
                alive_file.touch()
        except StorageFailed as error:
            log.warning("database away", reason=str(error))
        except Exception:
            # Whatever it is, the next second may be better; a sweep that ends heals nothing any more.
            log.exception("sweep failed")
        taken = time.monotonic() - begun
        pause = max(PERIOD_SECONDS, min(LONGEST_SECONDS, taken * (1.0 / SHARE - 1.0)))
