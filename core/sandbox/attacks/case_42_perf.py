"""Performance counters: a side channel, and a large surface."""

from __future__ import annotations

import ctypes
import struct

from core.sandbox.attacks.calls import system_call
from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    attributes = struct.pack("<IIQ", 1, 112, 1).ljust(112, b"\0")  # a software counter
    event = ctypes.create_string_buffer(attributes, 112)
    system_call("perf_event_open", event, 0, -1, -1, 0)


CASE = Case(42, "kernel", "open a performance counter", "EPERM", _attack, unwalled=False)
