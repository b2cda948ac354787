"""seccomp: the child may make the system calls named here, and no other.

An allow-list, so that calls which future kernels add are refused.  It runs NumPy, PyTorch on the
CPU, MuJoCo with its threads, Box2D and imports; it knows no socket, no program to execute, no
child, no file to write.  Sockets that the child was given stay usable.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from core.sandbox.kernel import machine, system_call

# name -> number on (x86_64, aarch64); None where the architecture has no such call.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "futex": (202, 98),
    "poll": (7, None),
    "ppoll": (271, 73),
    "recvfrom": (45, 207),
    "sendto": (44, 206),
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "close": (3, 57),
    "close_range": (436, 436),
    "shutdown": (48, 210),
    "select": (23, None),
    "pselect6": (270, 72),
    # memory
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "brk": (12, 214),
    # clocks
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    # threads
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126),
    "getcpu": (309, 168),
    "gettid": (186, 178),
    "set_tid_address": (218, 96),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "membarrier": (324, 283),
    "arch_prctl": (158, None),
    "exit": (60, 93),
    "exit_group": (231, 94),
    # own signals
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "setitimer": (38, 103),  # signals itself: the deadline of a program's call
    "restart_syscall": (219, 128),
    # who am I, and what is this machine
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "sysinfo": (99, 179),
    "uname": (63, 160),
    # files, as far as Landlock lets them be opened
    "open": (2, None),
    "openat": (257, 56),
    "stat": (4, None),
    "lstat": (6, None),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "lseek": (8, 62),
    "fadvise64": (221, 223),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
}

# Calls that are looked at more closely: numbers on (x86_64, aarch64).
_CLONE, _CLONE3, _IOCTL, _FCNTL = (56, 220), (435, 435), (16, 29), (72, 25)
_KILL, _TGKILL, _PRLIMIT, _PRCTL = (62, 129), (234, 131), (302, 261), (157, 167)

_COLUMN = {"x86_64": 0, "aarch64": 1}
_AUDIT_ARCH = (0xC000003E, 0xC00000B7)
_SECCOMP = (317, 277)
_SET_MODE_FILTER, _TSYNC = 1, 1
_X32_BIT = 0x40000000

_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000

# Classic BPF: load a word, compare, combine, return.
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

# A thread shares memory, signal handlers and thread group, and opens no namespace.
_THREAD_FLAGS = 0x00010000 | 0x00000100 | 0x00000800
_NAMESPACE_FLAGS = 0x7E020000
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)  # F_DUPFD, F_GETFD .. F_SETFL, F_DUPFD_CLOEXEC
_PRCTL_OPTIONS = (15, 16, 0x53564D41)  # names of threads and of anonymous memory

_Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def available() -> bool:
    """Return whether we have a table of system calls for this machine."""
    return machine() is not None


def install(*, devices: bool = False) -> None:
    """Refuse everything that is not listed, in all threads, for ever.  Needs no_new_privs.

    The filter knows the process by its id, so it is built after the fork.

    Args:
        devices: allow ioctl, on whatever device files the child could open.

    Raises:
        OSError: the kernel refuses the filter.
    """
    column = _COLUMN[str(machine())]
    code = b"".join(struct.pack("<HBBI", *step) for step in _filter(column, os.getpid(), devices))
    program = _Program(len(code) // 8, code)
    result = system_call(_SECCOMP[column], _SET_MODE_FILTER, _TSYNC, ctypes.byref(program))
    if result != 0:  # with TSYNC, the id of a thread that could not be bound
        raise OSError(f"thread {result} cannot take the filter")


def _filter(column: int, pid: int, devices: bool) -> list[_Instruction]:
    steps: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _AUDIT_ARCH[column]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32_BIT),  # the second, 32-bit table of x86-64
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]
    for numbers in _ALLOWED.values():
        if (number := numbers[column]) is not None:
            steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for numbers, body in _closer_looks(pid, devices):
        steps += [(_EQUAL, 0, len(body), numbers[column]), *body]
    return [*steps, (_RETURN, 0, 0, _ERRNO | errno.EPERM)]


def _closer_looks(pid: int, devices: bool) -> list[tuple[tuple[int, int], list[_Instruction]]]:
    return [
        (_CLONE, _only_threads()),
        (_CLONE3, _refuse(errno.ENOSYS)),  # its flags lie in memory; libc falls back to clone
        (_IOCTL, [(_RETURN, 0, 0, _ALLOW)] if devices else _refuse(errno.ENOTTY)),
        (_FCNTL, _argument_is(1, _FCNTL_COMMANDS)),
        (_PRCTL, _argument_is(0, _PRCTL_OPTIONS)),
        (_KILL, _argument_is(0, (pid,))),
        (_TGKILL, _argument_is(0, (pid,))),
        (_PRLIMIT, _only_reading_limits()),
    ]


def _refuse(number: int) -> list[_Instruction]:
    return [(_RETURN, 0, 0, _ERRNO | number)]


def _argument_is(index: int, allowed: Iterable[int]) -> list[_Instruction]:
    """Allow if the low word of an `int` argument is one of these; the kernel ignores the rest."""
    steps: list[_Instruction] = [(_LOAD, 0, 0, _ARGUMENTS + 8 * index)]
    for value in allowed:
        steps += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*steps, *_refuse(errno.EPERM)]


def _only_threads() -> list[_Instruction]:
    return [
        (_LOAD, 0, 0, _ARGUMENTS),
        (_AND, 0, 0, _THREAD_FLAGS | _NAMESPACE_FLAGS),
        (_EQUAL, 0, 1, _THREAD_FLAGS),
        (_RETURN, 0, 0, _ALLOW),
        *_refuse(errno.EPERM),
    ]


def _only_reading_limits() -> list[_Instruction]:
    """Allow prlimit64 if its pointer to a new limit, the third argument, is null."""
    return [
        (_LOAD, 0, 0, _ARGUMENTS + 16),
        (_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, _ARGUMENTS + 20),
        (_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        *_refuse(errno.EPERM),
    ]
