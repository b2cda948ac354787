"""The worker's keys stand in its environment; a child inherits the environment of its parent."""

from __future__ import annotations

import os

from core.sandbox.attacks.case import Absent, Case, Target


def _attack(target: Target) -> None:
    named = set(target.inherited) & set(os.environ)
    seen = target.canary and any(target.canary in value for value in os.environ.values())
    if not named and not seen:
        raise Absent


CASE = Case(1, "files", "find a secret in the environment", "absent", _attack)
