"""Limits and priority of the parent, which Landlock does not protect.  What it sets changes nothing."""

from __future__ import annotations

import os
import resource

from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    parent = os.getppid()

    def limit() -> None:
        now = resource.prlimit(parent, resource.RLIMIT_NOFILE)  # which anybody may ask
        resource.prlimit(parent, resource.RLIMIT_NOFILE, now)

    any_of(limit, lambda: os.setpriority(os.PRIO_PROCESS, parent, 0))


CASE = Case(36, "processes", "limit the parent", "EPERM", _attack)
