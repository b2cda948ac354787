"""A file outside the interpreter that everybody may read."""

from __future__ import annotations

from pathlib import Path

from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    any_of(
        Path(target.secret).read_bytes,
        Path(f"/proc/self/root{target.secret}").read_bytes,
    )


CASE = Case(3, "files", "read a world-readable file", "EACCES", _attack)
