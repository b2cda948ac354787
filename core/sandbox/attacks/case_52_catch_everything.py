"""A loop that swallows whatever is thrown at it."""

from __future__ import annotations

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001
            continue


CASE = Case(52, "resources", "swallow every exception", "ChildTimedOut", _attack, ends="stopped")
