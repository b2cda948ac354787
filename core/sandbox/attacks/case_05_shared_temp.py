"""The folder of temporary files, where anybody may leave something for others."""

from __future__ import annotations

from pathlib import Path

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    Path(target.shared, f"{target.token}-spoil").touch()


CASE = Case(5, "files", "write to the folder of temporary files", "EACCES", _attack)
