"""A file that runs with the rights of its owner, or that others may write."""

from __future__ import annotations

import os
from pathlib import Path

from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    def own_file() -> None:
        path = Path(target.shared, f"{target.token}-mode")
        path.touch()
        path.chmod(0o4755)

    any_of(own_file, lambda: os.chmod(target.secret, 0o4755))


CASE = Case(14, "files", "set the setuid bit of a file", "EACCES or EPERM", _attack)
