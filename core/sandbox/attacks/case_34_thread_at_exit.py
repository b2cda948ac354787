"""A thread that goes on when the child has said its last word."""

from __future__ import annotations

import threading

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    def run_on() -> None:
        while True:
            pass

    threading.Thread(target=run_on, daemon=False).start()


CASE = Case(34, "processes", "leave a thread running", "gone", _attack, ends="gone")
