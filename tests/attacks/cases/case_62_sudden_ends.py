"""Ends that might be taken for success."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from core.sandbox.frames import Channel
from tests.attacks.cases.kinds import Life


def segfault(channel: Channel) -> None:
    ctypes.string_at(8)


LIVES = {
    "sys.exit": lambda channel: sys.exit(0),
    "os._exit": lambda channel: os._exit(0),
    "abort": lambda channel: os.abort(),
    "segfault": segfault,
    "kill": lambda channel: os.kill(os.getpid(), signal.SIGKILL),
    "return": lambda channel: None,
}
CASE = Life(62, "output", "end before it answers", dict.fromkeys(LIVES, "ChildDied"), LIVES)
