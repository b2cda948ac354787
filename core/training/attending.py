"""The parent's patience: waiting for a child while the claim is kept alive."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from core.ports import Artifacts, Progress, Watch
from core.sandbox import Child, ChildTimedOut, Frame

POLL_SECONDS = 0.4


class ChildSilent(ChildTimedOut):
    """It lives, and said nothing for too long."""


def next_frame(
    child: Child, watch: Watch, progress: Progress, silence_seconds: float = math.inf
) -> Frame:
    """Return the child's next frame; `watch` is called about twice a second until it comes.

    Raises:
        ChildFailed: the child ended, or was ended.
        ChildSilent: it said nothing for `silence_seconds`.
        StepInterrupted, ClaimLost: `watch` said so; leaving the child's `with` block kills it.
    """
    until = time.monotonic() + silence_seconds
    while time.monotonic() < until:
        watch(progress)
        if (frame := child.receive_or_none(POLL_SECONDS)) is not None:
            return frame
    raise ChildSilent(f"it said nothing for {silence_seconds:.0f} s")


@dataclass(slots=True)
class Attended:
    """Artifacts whose bytes may take long to move: `watch` is called twice a second between them.

    A pack of off-policy learners writes gigabytes, and a claim lasts seconds.
    """

    artifacts: Artifacts
    watch: Watch
    progress: Progress
    _watched_at: float = field(default_factory=time.monotonic)

    def put(self, content: bytes) -> str:
        """Store bytes durably and return their sha256; see the port.

        Raises:
            StepInterrupted, ClaimLost: `watch` said so.
        """
        self._attend()
        return self.artifacts.put(content)

    def get(self, sha256: str) -> bytes:
        """Return the bytes; see the port.

        Raises:
            StepInterrupted, ClaimLost: `watch` said so.
        """
        self._attend()
        return self.artifacts.get(sha256)

    def _attend(self) -> None:
        if time.monotonic() - self._watched_at >= POLL_SECONDS:
            self.watch(self.progress)
            self._watched_at = time.monotonic()
