"""A module whose body never ends."""

from __future__ import annotations

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    exec(compile("while True:\n    pass\n", "<program>", "exec"), {})


CASE = Case(49, "resources", "never end its import", "ChildTimedOut", _attack, ends="stopped")
