"""A regular expression whose time doubles with every letter."""

from __future__ import annotations

import re

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    re.fullmatch(r"(a+)+", "a" * 64 + "b")


CASE = Case(
    55, "resources", "blow up a regular expression", "ChildTimedOut", _attack, ends="stopped"
)
