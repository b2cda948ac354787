"""A queue of system calls that filters do not see."""

from __future__ import annotations

import ctypes

from core.sandbox.attacks.calls import system_call
from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    system_call("io_uring_setup", 1, ctypes.create_string_buffer(128))


CASE = Case(40, "kernel", "use io_uring", "EPERM", _attack, unwalled=False)
