"""The zygote: a clean interpreter that has imported what children need, and forks them.

It holds no secret: its environment is built from nothing, its descriptors are closed, it never
sees a credential or a program.  It stays single-threaded, so that a fork is sound and Landlock
binds the whole child.  One connection is one child: when the connection closes, the child dies.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.sandbox import jailed, kernel
from core.sandbox.control import Messages, peer_is_ours, send_message
from core.sandbox.limits import GRACE_SECONDS, Limits
from core.sandbox.lock import Jail, first_slot

_PARENT_POLL_SECONDS = 0.5
_RSS_UNIT = 1024 if sys.platform == "linux" else 1


@dataclass(slots=True)
class _Client:
    """One connection of a worker, and the child that lives as long as it.

    `told` is where the child says that it is locked; None before it is forked and after it has said so.
    """

    connection: socket.socket
    messages: Messages
    slot: int
    pid: int | None = None
    told: int | None = None
    dies_at: float = float("inf")  # monotonic
    overdue: bool = False


class Zygote:
    """The selector loop; `boot` makes one.  The longest thing it does is a fork: milliseconds."""

    def __init__(
        self,
        listener: socket.socket,
        preloaded: Sequence[str],
        jail: Jail,
        greeting: dict[str, Any],
        checkout: Path | None,
    ) -> None:
        self._listener = listener
        self._preloaded = frozenset(preloaded)
        self._jail = jail
        self._greeting = greeting
        # Made once: it asks the file system about every module that is loaded.
        self._finder = (
            None if checkout is None else jailed.NotPreloaded(checkout, sorted(sys.modules))
        )
        self._clients: dict[int, _Client] = {}
        self._first_slot = first_slot(os.getpid()) + 1  # the self-test had the first
        self._selector = selectors.DefaultSelector()
        self._wakeup = _wake_on_dead_children()
        self._register(listener, self._accept)
        self._register(self._wakeup[0], self._bury)

    def run(self, starter: int) -> None:
        """Serve until the process that started us is gone."""
        watched = _watch_process(starter)
        if watched is not None:
            self._selector.register(watched, selectors.EVENT_READ, sys.exit)
        while watched is not None or os.getppid() == starter:
            ready = self._selector.select(self._patience(watched is None))
            for key, _ in ready:
                key.data()
            self._kill_the_overdue()

    def _register(self, source: socket.socket, act: Callable[[], None]) -> None:
        source.setblocking(False)
        self._selector.register(source, selectors.EVENT_READ, act)

    def _patience(self, polls_parent: bool) -> float | None:
        deadlines = [client.dies_at for client in self._clients.values()]
        patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else float("inf")
        if polls_parent:
            patience = min(patience, _PARENT_POLL_SECONDS)
        return None if patience == float("inf") else patience

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        if not peer_is_ours(connection):
            connection.close()
            return
        client = _Client(connection, Messages(connection), self._free_slot())
        self._clients[connection.fileno()] = client
        self._register(connection, functools.partial(self._hear, client))

    def _free_slot(self) -> int:
        taken = {client.slot for client in self._clients.values()}
        return next(slot for slot in range(self._first_slot, 2**31) if slot not in taken)

    def _hear(self, client: _Client) -> None:
        if client.connection.fileno() < 0:
            return  # buried by an earlier event of the same batch
        try:
            message = client.messages.read()
        except ValueError:
            message, client.messages.closed = None, True
        if message is not None:
            self._answer(client, message)
        if client.messages.closed:
            self._hang_up(client)

    def _answer(self, client: _Client, message: dict[str, Any]) -> None:
        if "spawn" not in message:
            _tell(client, self._greeting)
        elif client.pid is None:
            self._spawn(client, message)
        client.messages.close_descriptors()

    def _spawn(self, client: _Client, message: dict[str, Any]) -> None:
        try:
            order = self._order(client, message)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            _tell(client, {"error": f"{type(error).__name__}: {error}", "kind": "order"})
            return
        started = time.monotonic()
        try:
            client.pid, client.told = jailed.start(order, self._jail, self._forget)
        except OSError as error:  # no process or descriptor to be had
            _tell(client, {"error": f"fork: {error}", "kind": "order"})
            return
        client.dies_at = started + order.limits.wall_seconds + GRACE_SECONDS
        # It locks itself while the next one is forked.
        self._selector.register(
            client.told, selectors.EVENT_READ, functools.partial(self._answer_spawn, client)
        )

    def _answer_spawn(self, client: _Client) -> None:
        """Tell whether the child is locked, once."""
        if client.told is None:
            return  # told when it was buried, by an earlier event of the same batch
        self._selector.unregister(client.told)
        fault, client.told = jailed.fault(client.told), None
        if fault:
            _tell(client, {"error": fault, "kind": "lock"})
        else:
            _tell(client, {"pid": client.pid, "resident_bytes": _resident_bytes()})

    def _order(self, client: _Client, message: dict[str, Any]) -> jailed.Order:
        module, _, function = message["spawn"].partition(":")
        if module not in self._preloaded:
            raise ValueError(f"{module} is not among the preloaded modules")
        return jailed.Order(
            entry=getattr(sys.modules[module], function),
            limits=Limits(**message["limits"]),
            slot=client.slot,
            streams=tuple(client.messages.descriptors),
            finder=self._finder,
        )

    def _forget(self) -> None:
        """Close, in a fork, all that is the zygote's."""
        self._selector.close()
        self._listener.close()
        for end in self._wakeup:
            end.close()
        for client in self._clients.values():
            client.connection.close()
            if client.told is not None:
                os.close(client.told)

    def _hang_up(self, client: _Client) -> None:
        """The worker wants no more of it, or is dead: so is the child."""
        self._selector.unregister(client.connection)
        if client.pid is None:
            self._drop(client)
        else:
            _kill_group(client.pid)

    def _kill_the_overdue(self) -> None:
        now = time.monotonic()
        for client in self._clients.values():
            if client.pid is not None and client.dies_at <= now:
                _kill_group(client.pid)
                client.dies_at, client.overdue = float("inf"), True

    def _bury(self) -> None:
        self._wakeup[0].recv(4096)
        for client in list(self._clients.values()):
            if client.pid is not None and _has_ended(client.pid):
                _kill_group(client.pid)  # while the dead leader still holds the group's number
                self._answer_spawn(client)
                _, status, usage = os.wait4(client.pid, 0)
                _tell(client, {**_obituary(status, usage), "overdue": client.overdue})
                if not client.messages.closed:
                    self._selector.unregister(client.connection)
                self._drop(client)

    def _drop(self, client: _Client) -> None:
        del self._clients[client.connection.fileno()]
        client.messages.close_descriptors()
        client.connection.close()


def _watch_process(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends, where there is such.

    Unlike PDEATHSIG it minds the whole process, not the thread that happened to start us.
    """
    if kernel.machine() is None:
        return None
    watched = os.pidfd_open(pid)
    if os.getppid() != pid:
        sys.exit("the process that started the zygote is gone")
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 0)
    return watched


def _wake_on_dead_children() -> tuple[socket.socket, socket.socket]:
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _ignore)
    return receiver, sender


def _ignore(number: int, frame: object) -> None:
    """Do nothing: the byte on the wake-up socket is what matters."""


def _has_ended(pid: int) -> bool:
    """Ask without burying, so that the number cannot be given to another process yet."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue  # already gone, or (macOS) a zombie


def _obituary(status: int, usage: resource.struct_rusage) -> dict[str, Any]:
    code = os.waitstatus_to_exitcode(status)
    return {
        "exit_code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "max_rss_bytes": usage.ru_maxrss * _RSS_UNIT,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }


def _tell(client: _Client, message: dict[str, Any]) -> None:
    # A worker that died meanwhile hears nothing; its closed connection is noticed by the loop.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
        send_message(client.connection, message)


def _resident_bytes() -> int:
    if kernel.machine() is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()
