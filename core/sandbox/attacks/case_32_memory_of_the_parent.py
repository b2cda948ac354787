"""The parent's memory, read from outside."""

from __future__ import annotations

import ctypes
import os

from core.sandbox.attacks.calls import system_call
from core.sandbox.attacks.case import Case, Target


class _Span(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _attack(target: Target) -> None:
    buffer = ctypes.create_string_buffer(8)
    here = _Span(ctypes.addressof(buffer), 8)
    there = _Span(id(_Span), 8)  # the same place in the parent, of which we are a fork
    system_call("process_vm_readv", os.getppid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)


CASE = Case(32, "processes", "read the parent's memory", "EPERM", _attack, unwalled=False)
