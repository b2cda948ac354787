"""A signal to groups: its own, its parent's, everybody.  This one is harmless."""

from __future__ import annotations

import os
import signal

from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    any_of(
        lambda: os.killpg(0, signal.SIGURG),
        lambda: os.killpg(os.getppid(), signal.SIGURG),
        lambda: os.kill(-1, 0),
    )


CASE = Case(30, "processes", "signal a group of processes", "EPERM", _attack)
