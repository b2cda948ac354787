"""Who traces a process owns it."""

from __future__ import annotations

import os

from core.sandbox.attacks.calls import libc
from core.sandbox.attacks.case import Case, Target

_SEIZE = 0x4206


def _attack(target: Target) -> None:
    libc("ptrace", _SEIZE, os.getppid(), 0, 0)


# Without a wall, Yama refuses it on many machines.
CASE = Case(31, "processes", "trace the parent", "EPERM", _attack, unwalled=False)
