"""Another program knows nothing of the contract.  Where it succeeds this process is no more."""

from __future__ import annotations

import os

from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    any_of(
        lambda: os.execv("/bin/sh", ["sh", "-c", "true"]),
        lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "true"], {}),
    )


CASE = Case(27, "processes", "become another program", "EPERM", _attack)
