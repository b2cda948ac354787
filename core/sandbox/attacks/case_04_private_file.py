"""A file that only its owner may read."""

from __future__ import annotations

from pathlib import Path

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    Path(target.private).read_bytes()


CASE = Case(4, "files", "read a private file of another user", "EACCES", _attack, unwalled=False)
