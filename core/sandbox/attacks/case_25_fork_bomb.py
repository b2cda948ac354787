"""Children that outnumber the machine."""

from __future__ import annotations

import contextlib
import errno
import os
import signal

from core.sandbox.attacks.calls import system_call
from core.sandbox.attacks.case import Case, Target, any_of

_COUNT = 50


def _attack(target: Target) -> None:
    def fork_many() -> None:
        made = [pid for pid in map(_fork, range(_COUNT)) if pid is not None]
        for pid in made:
            _bury(pid)
        if not made:
            raise PermissionError(errno.EPERM, "not one fork was allowed")

    any_of(fork_many, _clone)


def _fork(number: int) -> int | None:
    try:
        pid = os.fork()
    except PermissionError:
        return None
    if pid == 0:
        os._exit(0)
    return pid


def _clone() -> None:
    if (pid := system_call("clone", int(signal.SIGCHLD), 0, 0, 0, 0)) == 0:
        os._exit(0)
    _bury(pid)


def _bury(pid: int) -> None:
    with contextlib.suppress(OSError):  # being refused to wait is no refusal of the fork
        os.waitpid(pid, 0)


CASE = Case(25, "processes", "fork", "EPERM", _attack)
