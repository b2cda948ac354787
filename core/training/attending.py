"""The parent's patience: waiting for a child while the claim is kept alive."""

from __future__ import annotations

import math
import time

from core.ports import Progress, Watch
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
