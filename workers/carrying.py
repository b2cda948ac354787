"""From a hint to a stored fact: claim the step, carry it out, and say what went wrong if it did."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from core.errors import (
    ClaimLost,
    ConfigurationError,
    Conflict,
    InvalidInput,
    NotFound,
    RewardsmithError,
    StepInterrupted,
    StorageFailed,
)
from core.loop import read_step, step_key, wanted
from core.ports import Progress
from core.steps import carry_out
from core.storage import ClaimedStep, Store
from workers.toolbox import Bench

log = structlog.get_logger("rewardsmith.worker")

MAX_FAILURES = 4  # of the same step by a broken system, not by a candidate
MAX_LAPSES = 10  # workers that vanished with the same step in hand
REST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Carrier:
    """One worker process: its name, what it works with, and whether it is being stopped."""

    store: Store
    bench: Bench
    owner: str
    lease_seconds: float
    stopping: threading.Event = field(default_factory=threading.Event)

    def carry_out(self, job_id: str, key: str) -> bool:
        """Do the step if it is free and still wanted; return whether it was done here."""
        if self.stopping.is_set():
            return False
        try:
            claim = self.store.claim(job_id, key, self.owner, self.lease_seconds)
        except (NotFound, Conflict):
            return False  # the job was deleted or ended since the message was sent
        if claim is None:
            return False
        with structlog.contextvars.bound_contextvars(job_id=job_id, step=key):
            try:
                return self._do(claim, key)
            finally:
                claim.release()
                self.store.settle(job_id)

    def _do(self, claim: ClaimedStep, key: str) -> bool:
        history = claim.history()
        if key not in {step_key(step) for step in wanted(history)}:
            return False

        if claim.lapses >= MAX_LAPSES:
            claim.fail("crash_loop", f"Step {key} was left by {claim.lapses} workers that died.")
            return False
        try:
            self.bench.permit(history)
            watch = Patient(claim, self.stopping, self.lease_seconds)
            carry_out(read_step(key), claim, self.bench.tools, watch)
        except StepInterrupted as stop:
            log.info("step interrupted", reason=str(stop))
            return False
        except ClaimLost as lost:
            log.warning("claim lost", reason=str(lost))
            return False
        except Exception as error:
            # The one place where whatever a step raises becomes a stored fact: what is not noted here
            # would be tried again for ever.
            log.exception("step failed")
            with suppress(StorageFailed, ClaimLost):  # then the lease lapses, and that is counted
                self._note_failure(claim, key, error)
            return False
        log.info("step done")
        return True

    def _note_failure(self, claim: ClaimedStep, key: str, error: Exception) -> None:
        """Let a step that broke rest, and end the job when it breaks again and again."""
        failures = 1 + claim.failures()
        words = str(error) if isinstance(error, RewardsmithError) else repr(error)[:1000]
        if isinstance(error, ConfigurationError):
            claim.pause(words)  # trying again would not help; once it is mended, the job goes on
            return
        if isinstance(error, InvalidInput):
            claim.fail("invalid_input", words)  # what was submitted cannot be mended by waiting
            return
        message = f"Step {key} failed ({failures} of {MAX_FAILURES}): {words}"
        claim.event("step.failed", message, {"step": key}, level="error")
        if failures >= MAX_FAILURES:
            claim.fail("crash_loop", message)
        else:
            claim.wait(REST_SECONDS * 4.0 ** (failures - 1), message)


class Patient:
    """The watch of a step: renews its claim, and bears a database that is away for a moment.

    As long as the lease stands nobody else can own the step, so a training need not die of a restart
    of the database.
    """

    def __init__(self, claim: ClaimedStep, stopping: threading.Event, lease_seconds: float) -> None:
        """Begin now: the claim has just been taken."""
        self._claim = claim
        self._stopping = stopping
        self._patience = lease_seconds / 2
        self._renewed = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Renew the claim.

        Raises:
            StepInterrupted: the job was cancelled or paused, or this worker is being stopped.
            ClaimLost: somebody else owns the step.
            StorageFailed: the database has been away for half a lease.
        """
        if self._stopping.is_set():
            raise StepInterrupted("the worker is being stopped; the step goes on elsewhere")
        try:
            self._claim.beat(progress)
        except StorageFailed:
            if time.monotonic() - self._renewed > self._patience:
                raise
        else:
            self._renewed = time.monotonic()
