"""The kernel's store of keys."""

from __future__ import annotations

from core.sandbox.attacks.calls import system_call
from core.sandbox.attacks.case import Case, Target

_GET_KEYRING_ID, _SESSION = 0, -3


def _attack(target: Target) -> None:
    system_call("keyctl", _GET_KEYRING_ID, _SESSION, 1)


CASE = Case(44, "kernel", "ask for the kernel's keys", "EPERM", _attack, unwalled=False)
