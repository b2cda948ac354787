"""Files that use up the inodes of a disk."""

from __future__ import annotations

from pathlib import Path

from core.sandbox.attacks.case import Case, Target

_COUNT = 5_000


def _attack(target: Target) -> None:
    for number in range(_COUNT):
        Path(target.shared, f"{target.token}-{number}").touch()


CASE = Case(16, "files", "make 5,000 files", "EACCES", _attack)
