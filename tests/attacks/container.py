"""A default Docker container as a process sees it: its system calls and its capabilities.

The profile is an allow-list; what it leaves out, without extra capabilities, is refused here by
name, as Docker's documentation lists it.  Not emulated: namespaces, cgroups, AppArmor.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from core.sandbox import kernel

CAPABILITIES = 0xA80425FB
"""The mask of a default container."""

# name -> number on (x86_64, aarch64); None where the architecture has no such call.
REFUSED: dict[str, tuple[int | None, int]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_mempolicy": (239, 236),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
_SOCKET, _CLONE, _CLONE3, _SECCOMP = (41, 198), (56, 220), (435, 435), (317, 277)
_FAMILIES = (38, 40)  # AF_ALG, AF_VSOCK
_NAMESPACE_FLAGS = 0x7E020000
_PR_CAPBSET_DROP = 24
_LAST_CAPABILITY = 40

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install_filter() -> None:
    """Bind this process and all its children.  Raises OSError where it cannot be done."""
    machine = kernel.machine()
    if machine is None:
        raise OSError(errno.ENOSYS, "no table of system calls for this machine")
    column = 0 if machine == "x86_64" else 1
    code = b"".join(struct.pack("<HBBI", *step) for step in _steps(column))
    program = _Program(len(code) // 8, code)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.system_call(_SECCOMP[column], 1, 0, ctypes.byref(program))


def keep_default_capabilities() -> None:
    """Leave root what root has in a container, for this process and its children.  Raises OSError."""
    kept = [number for number in range(32) if CAPABILITIES >> number & 1]
    for number in range(_LAST_CAPABILITY + 1):
        if number not in kept:
            kernel.prctl(_PR_CAPBSET_DROP, number)
    kernel.keep_only_capabilities(tuple(kept))


def _steps(column: int) -> list[tuple[int, int, int, int]]:
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    steps: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, 0)]
    for numbers in REFUSED.values():
        if (number := numbers[column]) is not None:
            steps += [(_EQUAL, 0, 1, number), refuse]
    steps += [(_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    families = [step for family in _FAMILIES for step in ((_EQUAL, 0, 1, family), refuse)]
    look = [(_LOAD, 0, 0, 16), *families, (_RETURN, 0, 0, _ALLOW)]
    steps += [(_EQUAL, 0, len(look), _SOCKET[column]), *look]
    look = [(_LOAD, 0, 0, 16), (_ANY_BIT, 0, 1, _NAMESPACE_FLAGS), refuse, (_RETURN, 0, 0, _ALLOW)]
    steps += [(_EQUAL, 0, len(look), _CLONE[column]), *look]
    return [*steps, (_RETURN, 0, 0, _ALLOW)]
