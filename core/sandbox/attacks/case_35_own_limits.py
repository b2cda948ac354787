"""The limits of this process, raised again."""

from __future__ import annotations

import errno
import resource

from core.sandbox.attacks.case import Case, Target

_MOST = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def _attack(target: Target) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CPU, _MOST)
    except ValueError as error:  # what Python makes of EPERM
        raise PermissionError(errno.EPERM, f"{error}") from error


CASE = Case(35, "processes", "raise its own limits", "EPERM", _attack)
