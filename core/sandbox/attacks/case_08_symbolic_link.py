"""A link in a readable place that points outside, laid there before or made now."""

from __future__ import annotations

import os
from pathlib import Path

from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    def make_one() -> None:
        link = Path(target.shared, f"{target.token}-link")
        os.symlink(target.secret, link)
        link.read_bytes()

    any_of(Path(target.link).read_bytes, make_one)


CASE = Case(8, "files", "read a file through a symbolic link", "EACCES or EPERM", _attack)
