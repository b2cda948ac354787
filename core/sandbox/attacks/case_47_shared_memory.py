"""Shared anonymous memory, which the limit of data does not count."""

from __future__ import annotations

import mmap

from core.sandbox.attacks.case import Case, Target

_BYTES = 3 * 1024**3


def _attack(target: Target) -> None:
    mmap.mmap(-1, _BYTES).close()


CASE = Case(47, "resources", "map more shared memory than allowed", "ENOMEM", _attack)
