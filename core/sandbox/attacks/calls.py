"""System calls that attacks make past Python, through libc."""

from __future__ import annotations

import ctypes
import errno
import os

from core.sandbox.kernel import machine

# name -> number on (x86_64, aarch64)
_NUMBERS = {
    "clone": (56, 220),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "process_vm_readv": (310, 270),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425),
}


def system_call(name: str, *arguments: object) -> int:
    """Make a call that libc has no function for.  Raises OSError."""
    kind = machine()
    if kind is None:
        raise OSError(errno.ENOSYS, f"{name}: no table of calls for this machine")
    number = _NUMBERS[name][0 if kind == "x86_64" else 1]
    return libc("syscall", number, *arguments)


def libc(name: str, *arguments: object) -> int:
    """Call a function of libc whose result is negative for an error.  Raises OSError."""
    call = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if call is None:
        raise OSError(errno.ENOSYS, f"there is no {name} here")
    call.restype = ctypes.c_long if name in {"syscall", "ptrace"} else ctypes.c_int
    result: int = call(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
