"""Faults of memory handled by oneself, which makes races in the kernel easy to win."""

from __future__ import annotations

from core.sandbox.attacks.calls import system_call
from core.sandbox.attacks.case import Case, Target

_USER_MODE_ONLY = 1


def _attack(target: Target) -> None:
    system_call("userfaultfd", _USER_MODE_ONLY)


CASE = Case(43, "kernel", "handle faults of memory", "EPERM", _attack, unwalled=False)
