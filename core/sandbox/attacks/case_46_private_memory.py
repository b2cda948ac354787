"""Memory that the machine does not have."""

from __future__ import annotations

import mmap

from core.sandbox.attacks.case import Case, Target

_BYTES = 3 * 1024**3


def _attack(target: Target) -> None:
    mmap.mmap(-1, _BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


CASE = Case(46, "resources", "take 3 GB of private memory", "ENOMEM", _attack)
