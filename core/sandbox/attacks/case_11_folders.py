"""The names of files tell a good deal: home, data, the root."""

from __future__ import annotations

import os

from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    any_of(
        lambda: os.listdir("/"),
        lambda: os.listdir(os.path.dirname(target.secret)),
        lambda: os.listdir("/etc"),
    )


CASE = Case(11, "files", "list folders", "EACCES", _attack)
