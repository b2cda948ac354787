"""/dev/shm, where files are memory that outlives its process."""

from __future__ import annotations

from pathlib import Path

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    Path("/dev/shm", f"{target.token}-spoil").touch()


CASE = Case(6, "files", "write to /dev/shm", "EACCES", _attack)
