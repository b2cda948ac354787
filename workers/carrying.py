"""From a hint to a stored fact: claim the step, carry it out, and say what went wrong if it did."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import structlog

from core.errors import (
    ClaimLost,
    Conflict,
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

MAX_FAILURES = 3  # of the same step by a broken system, not by a candidate
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

        def watch(progress: Progress) -> None:
            if self.stopping.is_set():
                raise StepInterrupted("the worker is being stopped; the step goes on elsewhere")
            claim.beat(progress)

        try:
            self.bench.permit(history.spec)
            carry_out(read_step(key), claim, self.bench.tools, watch)
        except StepInterrupted as stop:
            log.info("step interrupted", reason=str(stop))
            return False
        except ClaimLost as lost:
            log.warning("claim lost", reason=str(lost))
            return False
        except StorageFailed:
            raise  # nothing can be noted in a store that fails; the lease lapses
        except RewardsmithError as error:
            self._note_failure(claim, key, error)
            return False
        log.info("step done")
        return True

    def _note_failure(self, claim: ClaimedStep, key: str, error: RewardsmithError) -> None:
        """Let a step that broke rest, and end the job when it breaks again and again."""
        log.error("step failed", error=str(error), kind=type(error).__name__)
        failures = 1 + claim.failures()
        message = f"Step {key} failed ({failures} of {MAX_FAILURES}): {error}"
        claim.event("step.failed", message, {"step": key}, level="error")
        if failures >= MAX_FAILURES:
            claim.fail("crash_loop", message)
        else:
            claim.wait(REST_SECONDS, message)
