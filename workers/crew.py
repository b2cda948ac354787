"""The steps of one worker process: those that messages tell of, and those that it finds itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from celery import Celery

from core.errors import NotFound, StorageFailed
from workers.carrying import Carrier
from workers.messages import BrokerAway, dispatch

log = structlog.get_logger("rewardsmith.worker")


@dataclass(slots=True)
class Crew:
    """Carries out steps in the slots of a carrier, and announces what follows from them.

    Attributes:
        carrier: what carries them out.
        celery:  that is told of what follows.
        queues:  kinds of step that are done here.
    """

    carrier: Carrier
    celery: Celery
    queues: Sequence[str]
    _found: list[threading.Thread] = field(default_factory=list)

    def carry_out(self, job_id: str, key: str) -> None:
        """Do a step that a message told of."""
        if self.carrier.carry_out(job_id, key):
            self._follow(job_id)

    def take(self, queue: str, job_id: str, key: str) -> bool:
        """Begin a step without a message; False unless there is a slot for it (`messages.Take`)."""
        if queue not in self.queues or self.carrier.stopping.is_set():
            return False
        if not self.carrier.slots.acquire(blocking=False):
            return False
        thread = threading.Thread(target=self._do, args=(job_id, key), name="found", daemon=True)
        self._found = [one for one in self._found if one.is_alive()]
        self._found.append(thread)
        thread.start()
        return True

    def has_room(self) -> bool:
        """Tell whether there is a slot for a step at this moment."""
        if self.carrier.stopping.is_set() or not self.carrier.slots.acquire(blocking=False):
            return False
        self.carrier.slots.release()
        return True

    def wait(self, seconds: float) -> None:
        """Wait until the steps that were found here have been left."""
        until = time.monotonic() + seconds
        for thread in self._found:
            thread.join(max(0.0, until - time.monotonic()))

    def _do(self, job_id: str, key: str) -> None:
        try:
            done = self.carrier.carry_out_now(job_id, key)
        except Exception:
            # A thread of ours has nobody above it who would say so.
            log.exception("step broken", job_id=job_id, step=key)
            done = False
        finally:
            self.carrier.slots.release()
        if done:
            self._follow(job_id)

    def _follow(self, job_id: str) -> None:
        """Announce what is wanted now; if that fails, a sweep does it."""
        try:
            dispatch(self.carrier.store, self.celery, job_id, self.take)
        except (BrokerAway, StorageFailed, NotFound) as error:
            log.warning("nothing announced", job_id=job_id, reason=str(error))
