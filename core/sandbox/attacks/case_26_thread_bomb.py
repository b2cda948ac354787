"""Threads that outnumber the machine: some are allowed, for numerical libraries use them."""

from __future__ import annotations

import errno
import threading

from core.sandbox.attacks.case import Case, Target

_COUNT = 2_000


def _attack(target: Target) -> None:
    gate = threading.Event()
    try:
        for _ in range(_COUNT):
            threading.Thread(target=gate.wait, daemon=True).start()
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, f"{error}") from error
    finally:
        gate.set()


CASE = Case(26, "processes", "start 2,000 threads", "EAGAIN", _attack, unwalled=False)
