"""Landlock: the child may read what is named, and nothing else of the file system.

Landlock binds the calling thread and its descendants, so `restrict` must run while the process has
one thread.  It covers neither UDP, MPTCP nor pathname sockets: the network is refused by seccomp.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from core.sandbox.kernel import machine, system_call

# The three calls have the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_IOCTL_DEVICE = 1 << 15
_NET_BITS = 0b11  # bind and connect TCP
_SCOPE_BITS = 0b11  # abstract unix sockets, signals

_ABI_TRUNCATE = 3
_ABI_IOCTL = 5
_FILE_BITS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_BITS_NEWEST = 16  # ABI 5 added ioctl on devices


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def abi() -> int:
    """Return the version of Landlock that this kernel offers; 0 where there is none."""
    if machine() is None:
        return 0
    try:
        return system_call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def prepare(readable: Sequence[Path], devices: Sequence[Path], version: int) -> int:
    """Return the descriptor of a ruleset that refuses all but these paths.

    Args:
        readable: folders (with all below) and files that may be read.
        devices:  files that may be read, written and controlled (what seccomp leaves of ioctl).
        version:  what `abi` said.

    Raises:
        OSError: a path is missing or a rule is refused.  Never ignored: a rule that is silently
            absent is how such walls have failed elsewhere.
    """
    ruleset = _create(version)
    for path in readable:
        _allow(ruleset, path, _READ_FILE | (_READ_DIR if path.is_dir() else 0))
    truncate = _TRUNCATE if version >= _ABI_TRUNCATE else 0
    ioctl = _IOCTL_DEVICE if version >= _ABI_IOCTL else 0
    for path in devices:
        _allow(ruleset, path, _READ_FILE | _WRITE_FILE | truncate | ioctl)
    return ruleset


def restrict(ruleset: int) -> None:
    """Bind this thread for ever, and close the ruleset.  Needs no_new_privs.  Raises OSError."""
    system_call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _create(version: int) -> int:
    attributes = _RulesetAttr(
        (1 << _FILE_BITS_OF_ABI.get(version, _FILE_BITS_NEWEST)) - 1, _NET_BITS, _SCOPE_BITS
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    return system_call(_CREATE_RULESET, ctypes.byref(attributes), size, 0)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(rights, folder)
        system_call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(folder)
