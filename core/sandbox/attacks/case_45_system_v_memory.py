"""Shared memory of System V, which outlives the process that made it."""

from __future__ import annotations

import contextlib

from core.sandbox.attacks.calls import libc
from core.sandbox.attacks.case import Case, Target

_PRIVATE, _REMOVE = 0, 0


def _attack(target: Target) -> None:
    segment = libc("shmget", _PRIVATE, 4096, 0o600)
    with contextlib.suppress(OSError):  # it was made all the same
        libc("shmctl", segment, _REMOVE, None)


CASE = Case(45, "kernel", "make shared memory that survives", "EPERM", _attack)
