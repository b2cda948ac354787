"""Command lines of other processes may hold keys."""

from __future__ import annotations

import os
from pathlib import Path

from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    any_of(
        lambda: os.listdir("/proc"),
        Path(f"/proc/{os.getppid()}/cmdline").read_bytes,
        Path("/proc/1/cmdline").read_bytes,
        Path("/proc/self/net/tcp").read_bytes,
    )


CASE = Case(12, "files", "list processes and read their command lines", "EACCES", _attack)
