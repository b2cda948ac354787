"""A process that does not listen."""

from __future__ import annotations

import contextlib
import signal
import time

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)


CASE = Case(53, "resources", "ignore every signal", "ChildTimedOut", _attack, ends="stopped")
