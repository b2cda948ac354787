"""The life of one child, from the fork to its last word."""

from __future__ import annotations

import fcntl
import importlib.abc
import io
import os
import signal
import socket
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NoReturn

from core.sandbox.frames import Channel, Link
from core.sandbox.limits import Limits
from core.sandbox.lock import Jail, LockError, lock

Entry = Callable[[Channel, list[Link]], object]

EXIT_UNLOCKED = 97
LOCKED = b"locked"

_LAST_WORDS_BYTES = 32 * 1024
_PARKED = 128  # descriptors are moved out of the way before they are put in their places
_FIRST_FREE = 3


@dataclass(frozen=True, slots=True)
class Order:
    """What the zygote wants from a fork.

    `streams` are descriptors: the channel, standard error, then the links.  `finder` explains why
    modules of a checkout cannot be imported; None where they can be.
    """

    entry: Entry
    limits: Limits
    slot: int
    streams: tuple[int, ...]
    finder: NotPreloaded | None = None


def fork(order: Order, jail: Jail, forget: Callable[[], None]) -> tuple[int, str]:
    """Start a child (see `start`) and wait until it is locked.

    Returns:
        Its process id, and an empty text; or what went wrong with the lock: then it ends.
    """
    pid, told = start(order, jail, forget)
    return pid, fault(told)


def start(order: Order, jail: Jail, forget: Callable[[], None]) -> tuple[int, int]:
    """Start a child, which locks itself.

    Args:
        order:  what is to run, and with what.
        jail:   how it is locked.
        forget: closes, in the child, what the zygote has open.

    Returns:
        Its process id, and a descriptor that becomes readable once it is locked, or has failed to be.
    """
    parent = os.getpid()
    told, tell = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(told)
        os.close(tell)
        raise
    if pid == 0:
        with _EndOfProcess():
            forget()
            _live(order, jail, parent, tell)
    os.close(tell)
    return pid, told


def fault(told: int) -> str:
    """Wait until a child is locked; return an empty text, or what went wrong: then it ends."""
    # Read once: what it says is one write, and nobody waits for whoever is stopped after that.
    said = os.read(told, _LAST_WORDS_BYTES)
    os.close(told)
    return "" if said == LOCKED else said.decode("utf-8", "replace") or "it died at once"


def _live(order: Order, jail: Jail, parent: int, tell: int) -> NoReturn:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    tell = _arrange(order.streams, tell)
    try:
        lock(jail, order.limits, order.slot, parent)
    except (OSError, ValueError, LockError) as error:
        os.write(tell, f"{type(error).__name__}: {error}"[:4096].encode("utf-8", "replace"))
        os._exit(EXIT_UNLOCKED)
    channel, links = _open(order)
    if order.finder is not None:
        sys.meta_path.insert(0, order.finder)
    os.write(tell, LOCKED)
    os.close(tell)
    order.entry(channel, links)
    sys.exit(0)


def _arrange(streams: Sequence[int], tell: int) -> int:
    """Give the child exactly: no input, standard error twice, channel, links, and the teller."""
    channel, errors, *links = streams
    nothing = os.open(os.devnull, os.O_RDONLY)
    wanted = [nothing, errors, errors, channel, *links, tell]
    parked = [_park(descriptor) for descriptor in wanted]
    for place, descriptor in enumerate(parked):
        os.dup2(descriptor, place, inheritable=False)
    _close_all_from(len(parked))
    return len(parked) - 1


def _close_all_from(first: int) -> None:
    open_now = [int(name) for name in os.listdir("/dev/fd")]
    os.closerange(first, max(open_now) + 1)


def _park(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD, _PARKED)


def _open(order: Order) -> tuple[Channel, list[Link]]:
    count = len(order.streams) - 2
    places = range(_FIRST_FREE, _FIRST_FREE + 1 + count)
    connection, *links = places
    sys.stdout, sys.stderr = _printer(1), _printer(2)
    channel = Channel(_stream_socket(connection), max_blob_bytes=order.limits.result_bytes)
    return channel, [_link(place) for place in links]


def _printer(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding="utf-8", errors="replace", line_buffering=True
    )


def _link(descriptor: int) -> Link:
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return _stream_socket(descriptor)
    return os.fdopen(descriptor, "r+b", buffering=0)


def _stream_socket(descriptor: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=descriptor)


class NotPreloaded(importlib.abc.MetaPathFinder):
    """Says plainly why a module of a checkout cannot be imported behind the lock."""

    def __init__(self, checkout: Path, loaded: Sequence[str]) -> None:
        roots = {name.partition(".")[0] for name in loaded}
        self._roots = {name for name in roots if (checkout / name).exists()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse what belongs to a package of the checkout; leave the rest to others."""
        if fullname.partition(".")[0] not in self._roots:
            return None
        raise ModuleNotFoundError(
            f"{fullname} was not loaded before the sandbox closed; name it in Sandbox(preload=...)",
            name=fullname,
        )


class _EndOfProcess:
    """Ends the forked process whatever happens inside, with the error on standard error."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> NoReturn:
        code = 1
        try:
            code = _last_words(error)
        finally:
            os._exit(code)


def _last_words(error: BaseException | None) -> int:
    """Flush, report an uncaught exception, and return the exit code."""
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        sys.stdout.flush()
        return (error.code or 0) & 0xFF
    if error is not None:
        lines = "".join(traceback.format_exception(error, limit=-20))
        os.write(2, lines[-_LAST_WORDS_BYTES:].encode("utf-8", "replace"))
    sys.stdout.flush()
    return 1
