"""A signal ends the zygote, and with it the children of all others.  This one is harmless."""

from __future__ import annotations

import os
import signal

from core.sandbox.attacks.calls import system_call
from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    def through_descriptor() -> None:
        parent = os.pidfd_open(os.getppid())
        system_call("pidfd_send_signal", parent, int(signal.SIGURG), None, 0)

    any_of(lambda: os.kill(os.getppid(), signal.SIGURG), through_descriptor)


CASE = Case(29, "processes", "signal the parent", "EPERM", _attack)
