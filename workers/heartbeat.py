"""Keeping a claim: a thread renews it, and the step stops in time when that fails.

The step's own thread may be busy for a while, so that it does not renew the claim itself.  It asks here
twice a second whether it may go on, and that question never waits for the network: a worker that is cut
off from the database ends its children before somebody else can own the step, by its own clock alone.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Protocol

import structlog

from core.errors import ClaimLost, StepInterrupted, StorageFailed, WorkerStopping
from core.ports import Progress

log = structlog.get_logger("rewardsmith.worker")

PATIENCE = 2 / 3
"""Share of a lease after which an owner that could not renew it stops, on the monotonic clock."""
MOST_SECONDS = 1.0
"""Between two renewals: a job that is cancelled is noticed as quickly."""
_GOODBYE_SECONDS = 1.0


class Renewable(Protocol):
    """What a heartbeat needs of a claimed step."""

    def beat(self, progress: Progress) -> None:
        """Renew the claim; see `core.ports.Ledger`."""
        ...


class Heartbeat:
    """The watch of a step (`core.ports.Watch`), and the thread behind it.  A context manager."""

    def __init__(
        self,
        claim: Renewable,
        stopping: threading.Event,
        lease_seconds: float,
        step_key: str = "",
        patience_seconds: float = 0.0,
        since: float | None = None,
    ) -> None:
        """Make the watch of a claim that has just been taken.

        Args:
            claim:            that is renewed.
            stopping:         set when this worker is to end.
            lease_seconds:    for which a renewal holds.
            step_key:         for messages.
            patience_seconds: for which a worker that is to end waits for what was paid for.
            since:            when the claim was asked for, on the monotonic clock; now unless given.
        """
        self._claim = claim
        self._stopping = stopping
        self._period = min(MOST_SECONDS, lease_seconds / 5)
        self._patience = lease_seconds * PATIENCE
        self._patience_at_the_end = patience_seconds
        self._where = f"step {step_key}"
        self._progress = Progress("started", 0, 0)
        self._renewed = time.monotonic() if since is None else since
        self._stop: Exception | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join(_GOODBYE_SECONDS)  # one that waits for the network ends by itself

    def __call__(self, progress: Progress) -> None:
        """Note the progress, and go on if the step may.

        Raises:
            StepInterrupted: the job was cancelled or paused.
            WorkerStopping: this worker is being stopped.
            ClaimLost: somebody else owns the step, or it could not be renewed for too long.
        """
        self._progress = progress
        if self._stop is not None:
            raise self._stop
        silent = time.monotonic() - self._renewed
        if silent > self._patience:
            raise ClaimLost(
                f"it could not be renewed for {silent:.1f} s",
                where=self._where,
                hint="The database does not answer; the step is left before somebody else takes it.",
            )
        if self._stopping.is_set():
            raise WorkerStopping(
                "the worker is being stopped; the step goes on elsewhere",
                patience_seconds=self._patience_at_the_end,
            )

    def _beat_on(self) -> None:
        while not self._done.wait(self._period) and self._stop is None:
            asked = time.monotonic()  # a lease counts from some moment after this one
            try:
                self._claim.beat(self._progress)
            except StorageFailed as error:
                log.warning("claim not renewed", reason=str(error))
            except (ClaimLost, StepInterrupted) as error:
                self._stop = error
            except Exception as error:
                log.exception("heartbeat broken")
                self._stop = error
            else:
                self._renewed = asked
