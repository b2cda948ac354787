"""Calls without end, through C, where the interpreter's own limit is lifted."""

from __future__ import annotations

import sys

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    sys.setrecursionlimit(2**31 - 1)

    def deeper(number: int) -> int:
        return max(map(deeper, [number + 1]))

    deeper(0)


CASE = Case(54, "resources", "call itself without end", "ChildDied", _attack, ends="stopped")
