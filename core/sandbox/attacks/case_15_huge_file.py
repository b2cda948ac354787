"""A file that fills the disk."""

from __future__ import annotations

from pathlib import Path

from core.sandbox.attacks.case import Case, Target

_BYTES = 1024**3


def _attack(target: Target) -> None:
    with Path(target.shared, f"{target.token}-huge").open("wb") as file:
        file.truncate(_BYTES)


CASE = Case(15, "files", "write a huge file", "EACCES or EFBIG", _attack)
