"""Files that the parent has open stay open over a fork."""

from __future__ import annotations

import contextlib
import os
import stat

from core.sandbox.attacks.case import Absent, Case, Target


def _attack(target: Target) -> None:
    for descriptor in range(256):
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.pread(descriptor, 1, 0)
                return
    raise Absent


CASE = Case(10, "files", "read a file that its parent has open", "absent", _attack)
