"""Whether a path exists, how large it is and when it changed: Landlock does not cover it."""

from __future__ import annotations

import os

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    os.stat(target.secret)


CASE = Case(13, "files", "ask for a file's metadata by stat()", "allowed", _attack, ends="allowed")
