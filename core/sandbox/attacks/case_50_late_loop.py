"""A function that behaves for 10,000 calls."""

from __future__ import annotations

from core.sandbox.attacks.case import Case, Target

_GOOD = 10_000


def _attack(target: Target) -> None:
    calls = 0

    def reward() -> float:
        nonlocal calls
        calls += 1
        while calls > _GOOD:
            pass
        return 1.0

    for _ in range(2 * _GOOD):
        reward()


CASE = Case(
    50, "resources", "hang after 10,000 good calls", "ChildTimedOut", _attack, ends="stopped"
)
