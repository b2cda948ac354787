"""The few system calls of Linux that Python does not offer, through ctypes."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NO_NEW_PRIVS = 38

CAP_KILL = 5
CAP_SETGID = 6
CAP_SETUID = 7

_CAPABILITY_VERSION_3 = 0x20080522
_CAPSET = {"x86_64": 126, "aarch64": 91}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySet(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def machine() -> str | None:
    """Return the architecture whose system calls we know, or None: then there is no wall."""
    known = sys.platform == "linux" and sys.maxsize > 2**32 and platform.machine() in _CAPSET
    return platform.machine() if known else None


def system_call(number: int, *arguments: object) -> int:
    """Make a system call with integers and ctypes pointers.  Raises OSError."""
    result: int = _libc.syscall(
        ctypes.c_long(number),
        *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments),
    )
    return _checked(result, f"system call {number}")


def prctl(option: int, value: int) -> None:
    """Set one property of this process.  Raises OSError."""
    zeros = (ctypes.c_ulong(0),) * 3
    _checked(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), *zeros), f"prctl {option}")


def keep_only_capabilities(capabilities: tuple[int, ...] = ()) -> None:
    """Drop every capability but these.  Raises OSError."""
    mask = sum(1 << number for number in capabilities)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    sets = (_CapabilitySet * 2)(_CapabilitySet(mask, mask, 0), _CapabilitySet(0, 0, 0))
    system_call(_CAPSET[platform.machine()], ctypes.byref(header), ctypes.byref(sets))


def set_file_user(uid: int) -> None:
    """Set the user id that the file system sees.  Raises OSError if it did not change."""
    _libc.setfsuid(ctypes.c_uint(uid))
    if _libc.setfsuid(ctypes.c_uint(0xFFFFFFFF)) != uid:  # an impossible id only asks
        raise OSError(f"setfsuid({uid}) was refused")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
