"""Programs that run inside the kernel."""

from __future__ import annotations

import ctypes

from core.sandbox.attacks.calls import system_call
from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    system_call("bpf", 0, ctypes.create_string_buffer(72), 72)


CASE = Case(41, "kernel", "load a program into the kernel", "EPERM", _attack, unwalled=False)
