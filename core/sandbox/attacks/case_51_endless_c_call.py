"""One call into C that holds the interpreter, so that no signal handler of Python runs."""

from __future__ import annotations

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    pow(3, 10**9)


CASE = Case(51, "resources", "hang inside one C call", "ChildTimedOut", _attack, ends="stopped")
