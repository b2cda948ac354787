"""A child that lives on when everybody who knows of it is dead."""

from __future__ import annotations

import contextlib
import os
import signal

from core.sandbox.attacks.calls import libc
from core.sandbox.attacks.case import Case, Target

_PR_SET_PDEATHSIG = 1


def _attack(target: Target) -> None:
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for way in (os.setsid, lambda: libc("prctl", _PR_SET_PDEATHSIG, 0, 0, 0, 0)):
        with contextlib.suppress(OSError):
            way()


CASE = Case(33, "processes", "outlive its zygote as a daemon", "gone", _attack, ends="orphaned")
