"""From a hint to a stored fact: claim the step, carry it out, and say what went wrong if it did."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

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
from core.failpoints import failpoint
from core.loop import read_step, step_key, wanted
from core.records.history import History
from core.sandbox import ChildFailed
from core.steps import carry_out
from core.storage import ClaimedStep, Store
from workers.heartbeat import Heartbeat
from workers.toolbox import Bench

log = structlog.get_logger("rewardsmith.worker")

MAX_FAILURES = 4  # of the same step by a broken system, not by a candidate
REST_SECONDS = 5.0
STORAGE_REST_SECONDS = 20.0
_ASK_SECONDS = 0.5
_LAST_WORDS = 2_000  # characters of a child's standard error that a failed job keeps


@dataclass(frozen=True, slots=True)
class Carrier:
    """One worker process: its name, what it works with, and whether it is being stopped.

    Attributes:
        slots: at most so many steps at a time, wherever the news of them came from.
        most:  how many that are.
        patience_seconds: for which a worker that is to end waits for answers that were paid for.
        doing: keys of the steps that are carried out right now, by (job, step).
    """

    store: Store
    bench: Bench
    owner: str
    lease_seconds: float
    stopping: threading.Event = field(default_factory=threading.Event)
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1))
    most: int = 1
    patience_seconds: float = 0.0
    doing: set[tuple[str, str]] = field(default_factory=set)

    @property
    def busy(self) -> int:
        """Return how many steps are carried out right now."""
        return len(self.doing)

    def carry_out(self, job_id: str, key: str) -> bool:
        """Do the step as soon as there is a slot; return whether it was done here."""
        while not self.slots.acquire(timeout=_ASK_SECONDS):
            if self.stopping.is_set():
                return False
        try:
            return self.carry_out_now(job_id, key)
        finally:
            self.slots.release()

    def carry_out_now(self, job_id: str, key: str) -> bool:
        """Do the step if it is free and still wanted, in a slot that the caller holds."""
        if self.stopping.is_set():
            return False
        asked = time.monotonic()  # its lease counts from some moment after this one
        try:
            claim = self.store.claim(job_id, key, self.owner, self.lease_seconds)
        except (NotFound, Conflict):
            return False  # the job was deleted or ended since the message was sent
        except StorageFailed as error:
            log.warning("step not claimed", reason=str(error))
            return False
        if claim is None:
            return False
        with (
            structlog.contextvars.bound_contextvars(job_id=job_id, step=key, fence=claim.fence),
            self._given_back(claim),
        ):
            return self._do(claim, key, asked)

    @contextmanager
    def _given_back(self, claim: ClaimedStep) -> Iterator[None]:
        """Let go of a claim in the end; where the database is away, its lease lapses instead."""
        failpoint("step.claimed")
        self.doing.add((claim.job_id, claim.step_key))
        try:
            yield
        finally:
            self.doing.discard((claim.job_id, claim.step_key))
            failpoint("step.done")
            try:
                claim.release()
                self.store.settle(claim.job_id)
            except (StorageFailed, NotFound) as error:
                log.warning("step not given back", reason=str(error))
            failpoint("step.released")

    def _do(self, claim: ClaimedStep, key: str, asked: float) -> bool:
        begun = time.monotonic()
        heartbeat = Heartbeat(
            claim, self.stopping, self.lease_seconds, key, self.patience_seconds, asked
        )
        try:
            # To read a long history, and to ask whether it may run here, can take a lease's time.
            with heartbeat as watch:
                history = claim.history()
                if not _is_wanted(key, history):
                    return False
                claim.begin()
                self.bench.permit(history)
                carry_out(read_step(key), claim, self.bench.tools, watch, history)
        except StepInterrupted as stop:
            log.info("step interrupted", reason=str(stop))
            return False
        except ClaimLost as lost:
            log.warning("claim lost", reason=str(lost))
            return False
        except StorageFailed as error:
            log.warning("step waits", reason=str(error))
            with suppress(StorageFailed, ClaimLost, StepInterrupted):  # then the lease lapses
                # A disk is made room on, a database comes back, and then the job goes on.
                claim.wait(STORAGE_REST_SECONDS, str(error))
            return False
        except Exception as error:
            # The one place where whatever a step raises becomes a stored fact: what is not noted here
            # would be tried again for ever.
            log.exception("step failed")
            with suppress(StorageFailed, ClaimLost, StepInterrupted):  # then the lease lapses
                self._note_failure(claim, key, error)
            return False
        log.info("step done", seconds=round(time.monotonic() - begun, 3))
        return True

    def _note_failure(self, claim: ClaimedStep, key: str, error: Exception) -> None:
        """Let a step that broke rest, and end the job when it breaks again and again."""
        words = str(error) if isinstance(error, RewardsmithError) else repr(error)[:1000]
        if isinstance(error, ConfigurationError):
            claim.pause(words)  # trying again would not help; once it is mended, the job goes on
            return
        if isinstance(error, InvalidInput):
            claim.fail("invalid_input", words)  # what was submitted cannot be mended by waiting
            return
        failures = 1 + claim.failures()
        message = f"Step {key} failed ({failures} of {MAX_FAILURES}): {words}"
        told = {"step": key, **last_words(error)}
        claim.event("step.failed", message, told, level="error")
        if failures >= MAX_FAILURES:
            claim.fail("crash_loop", message, told)
        else:
            claim.wait(REST_SECONDS * 4.0 ** (failures - 1), message)


def _is_wanted(key: str, history: History) -> bool:
    """Tell whether a step is wanted by what others do and have done.

    Who claims a step has not begun it: what has begun is let go on where a budget is used up.
    """
    others = replace(history, claimed=history.claimed - {key})
    return key in {step_key(step) for step in wanted(others)}


def last_words(error: BaseException) -> dict[str, str]:
    """Return what the child behind an error last wrote to its standard error, if one is behind it."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ChildFailed) and found.exit is not None:
            return {"stderr": found.exit.stderr_tail[-_LAST_WORDS:]}
        found = found.__cause__ or found.__context__
    return {}
