"""Files in memory, which no limit of the process counts."""

from __future__ import annotations

import os

from core.sandbox.attacks.case import Case, Target

_COUNT = 40
_BYTES = 100 * 1024**2


def _attack(target: Target) -> None:
    farm = [os.memfd_create(f"field {number}") for number in range(_COUNT)]
    for descriptor in farm:
        os.ftruncate(descriptor, _BYTES)
        os.close(descriptor)


CASE = Case(48, "resources", "make a farm of files in memory", "EPERM", _attack)
