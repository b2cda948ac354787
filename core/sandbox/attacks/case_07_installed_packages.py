"""A file among the installed packages would run in the next process that imports it."""

from __future__ import annotations

import os
from pathlib import Path

from core.sandbox.attacks.case import Case, Target, any_of, use


def _attack(target: Target) -> None:
    beside = Path(os.__file__).with_name(f"{target.token}.py")
    any_of(beside.touch, lambda: Path(os.__file__).open("ab").close())
    use(lambda: beside.unlink(missing_ok=True))


CASE = Case(7, "files", "write into the installed packages", "EACCES", _attack, unwalled=False)
