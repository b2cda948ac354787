"""The worker's end of one jailed child: frames in and out, deadlines, watchdogs, its end."""

from __future__ import annotations

import math
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from core.sandbox.codec import BadFrame, Frame, Outgoing
from core.sandbox.control import Messages
from core.sandbox.frames import Channel, ChannelClosed, send_now
from core.sandbox.limits import MIB, Limits
from core.sandbox.outcomes import (
    ChildDied,
    ChildExit,
    ChildFailed,
    ChildMisbehaved,
    ChildTimedOut,
    ZygoteFailed,
    clean_text,
)

_STDERR_KEPT_BYTES = 64 * 1024
_WATCH_SECONDS = 0.1
_EXIT_SECONDS = 3.0  # between a closed channel and the news of the end
_BURIAL_SECONDS = 5.0
_RSS_SLACK_BYTES = 128 * MIB  # shared pages of libraries count as resident once touched
_LOST = "the zygote was lost, and its children with it"
_PAGE_BYTES = resource.getpagesize()


class Child:
    """One jailed process.  A context manager; leaving it kills what is left.

    Every method keeps an eye on the wall deadline, the resident memory and the flood of standard
    error.  A child that breaks a rule is killed first; frames that it had finished are still
    delivered, and then the error is raised.
    """

    def __init__(
        self,
        pid: int,
        control: Messages,
        channel: socket.socket,
        errors: int,
        limits: Limits,
        inherited_bytes: int,
    ) -> None:
        """Take over the descriptors of a spawn; `Sandbox.spawn` calls this."""
        self.pid = pid
        self._socket = channel
        self._channel = Channel(channel, max_blob_bytes=limits.result_bytes)
        self._control = control.connection
        self._obituaries = control
        self._errors = errors
        self._limits = limits
        self._dies_at = time.monotonic() + limits.wall_seconds
        self._max_resident = inherited_bytes + limits.memory_bytes + _RSS_SLACK_BYTES
        self._watched_at = 0.0
        self._stderr = bytearray()
        self._stderr_bytes = 0
        self._stderr_open = True
        self._report = control.next_buffered()  # a short life may have ended by now
        self._verdict: ChildFailed | None = None
        self._condemned = False
        self._control.setblocking(False)
        os.set_blocking(errors, False)

    def send(self, header: Mapping[str, Any], blobs: Mapping[str, bytes] | None = None) -> None:
        """Send one frame.

        Raises:
            BadFrame: the frame breaks the rules; nothing was sent.
            ChildDied, ChildTimedOut, ChildMisbehaved
        """
        outgoing = Outgoing(header, blobs or {}, self._limits.result_bytes)
        while not self._is_out(outgoing):
            self._guard()
            self._raise_if_over()
            self._watch(select.POLLOUT, time.monotonic() + _WATCH_SECONDS)

    def receive(self, timeout_seconds: float | None = None) -> Frame:
        """Return the next frame.

        Args:
            timeout_seconds: for this frame; never beyond the wall deadline of the limits.

        Raises:
            ChildDied, ChildTimedOut, ChildMisbehaved: the child has ended, or was killed for it.
            ZygoteFailed: the zygote was lost, and the child with it: not the child's fault.
        """
        frame = self.receive_or_none(math.inf if timeout_seconds is None else timeout_seconds)
        if frame is None:
            self._condemn(ChildTimedOut(f"no answer within {timeout_seconds:g} s"))
            raise self._ended()
        return frame

    def receive_or_none(self, wait_seconds: float) -> Frame | None:
        """Return a frame, or None if none was complete in that time; partial data is kept.

        Raises:
            as `receive`
        """
        until = time.monotonic() + wait_seconds
        while (frame := self._frame_now()) is None:
            self._guard()
            if time.monotonic() >= until:
                return None
            self._watch(select.POLLIN, until)
        return frame

    def kill(self) -> None:
        """Have the zygote kill the child and its group at once.  Killing twice does no harm."""
        if self._condemned:
            return
        self._condemned = True
        try:
            self._control.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the connection, and so the child, is gone already

    def wait(self, timeout_seconds: float) -> ChildExit:
        """Return how the child ended; to be called after its last frame.

        Raises:
            ChildTimedOut: it had not ended in time, and was killed.
            ZygoteFailed:  the zygote was lost first.
        """
        until = time.monotonic() + timeout_seconds
        while self._report is None and not self._obituaries.closed:
            self._guard()
            if time.monotonic() >= until:
                self._condemn(ChildTimedOut(f"it did not end within {timeout_seconds:g} s"))
            if self._verdict is not None:
                raise self._ended()
            self._watch(0, until)
        self._drain_errors_for_good()
        if self._report is None:
            raise ZygoteFailed(_LOST, hint="Try again.")
        return self._exit()

    def close(self) -> None:
        """Kill what is left and release the descriptors."""
        self.kill()
        self._channel.close()
        self._control.close()
        if self._errors >= 0:
            os.close(self._errors)
        self._errors = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _is_out(self, outgoing: Outgoing) -> bool:
        try:
            return outgoing.write_now(lambda data: send_now(self._socket, data))
        except ChannelClosed:
            raise self._ended() from None

    def _frame_now(self) -> Frame | None:
        try:
            return self._channel.receive_now()
        except ChannelClosed:
            raise self._ended() from None
        except BadFrame as error:
            self._condemn(ChildMisbehaved(f"it sent a bad frame ({error})"))
            raise self._ended() from error

    def _guard(self) -> None:
        """Condemn the child if it is over its time, its memory or its output."""
        now = time.monotonic()
        if now >= self._dies_at:
            self._condemn(self._too_long())
        if now >= self._dies_at + _BURIAL_SECONDS:
            self._raise_if_over()
        if self._stderr_bytes > self._limits.stderr_bytes:
            count = self._limits.stderr_bytes
            self._condemn(ChildMisbehaved(f"it printed more than {count} bytes"))
        if now >= self._watched_at + _WATCH_SECONDS:
            self._watched_at = now
            self._watch_memory()

    def _too_long(self) -> ChildTimedOut:
        return ChildTimedOut(f"it ran longer than {self._limits.wall_seconds:g} s")

    def _watch_memory(self) -> None:
        statm = Path(f"/proc/{self.pid}/statm")
        try:
            resident = int(statm.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
        except (FileNotFoundError, ProcessLookupError):
            return  # it has ended, or this is not Linux
        if resident > self._max_resident:
            budget = self._limits.memory_bytes // MIB
            self._condemn(ChildDied(f"it used more than {budget} MiB of memory"))

    def _condemn(self, verdict: ChildFailed) -> None:
        """Kill the child; the first reason is the one that is told."""
        if self._verdict is None:
            self._verdict = verdict
        self.kill()

    def _raise_if_over(self) -> None:
        if self._verdict is not None or self._report is not None:
            raise self._ended()

    def _ended(self) -> ChildFailed | ZygoteFailed:
        """Return the error that tells how the child ended; make sure that it has."""
        self._wait_for_report(_BURIAL_SECONDS if self._condemned else _EXIT_SECONDS)
        if self._report is None and not self._condemned and not self._obituaries.closed:
            self._condemn(ChildMisbehaved("it closed its channel and lived on"))
            self._wait_for_report(_BURIAL_SECONDS)
        if self._report is None and self._verdict is None:
            return ZygoteFailed(_LOST, hint="Try again.")
        end = self._exit()
        if self._report is not None and self._report.get("overdue"):
            self._condemn(self._too_long())  # the zygote has done it, for nobody asked here
        verdict = self._verdict or _verdict_of(end, self._limits)
        return type(verdict)(_with_tail(verdict.found, end), exit=end)

    def _wait_for_report(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._report is None and not self._obituaries.closed and time.monotonic() < until:
            self._watch(0, until)
        self._drain_errors_for_good()

    def _drain_errors_for_good(self) -> None:
        """Read what is left in the pipe: bounded, for the writer has ended."""
        while self._stderr_open and self._read_errors():
            if self._stderr_bytes > 2 * self._limits.stderr_bytes:
                return

    def _exit(self) -> ChildExit:
        report = self._report or {}
        return ChildExit(
            exit_code=report.get("exit_code"),
            signal=report.get("signal"),
            max_rss_bytes=report.get("max_rss_bytes", 0),
            cpu_seconds=report.get("cpu_seconds", 0.0),
            stderr_tail=clean_text(bytes(self._stderr)),
        )

    def _watch(self, event: int, until: float) -> None:
        """Wait for the channel, at most until then or the next look at the memory."""
        poller = select.poll()
        if event:
            poller.register(self._channel, event)
        if self._stderr_open:
            poller.register(self._errors, select.POLLIN)
        if not self._obituaries.closed and self._report is None:
            poller.register(self._control, select.POLLIN)
        soon = min(until, time.monotonic() + _WATCH_SECONDS)
        if not self._condemned:
            soon = min(soon, self._dies_at)
        ready = {descriptor for descriptor, _ in poller.poll(_milliseconds_until(soon))}
        if self._errors in ready:
            self._read_errors()
        if self._control.fileno() in ready:
            self._report = self._obituaries.read()

    def _read_errors(self) -> bool:
        """Read one piece of standard error into the ring; return whether there was any."""
        try:
            piece = os.read(self._errors, _STDERR_KEPT_BYTES)
        except BlockingIOError:
            return False
        self._stderr_open = bool(piece)
        self._stderr_bytes += len(piece)
        self._stderr += piece
        del self._stderr[:-_STDERR_KEPT_BYTES]
        return bool(piece)


def _verdict_of(end: ChildExit, limits: Limits) -> ChildFailed:
    if end.signal == signal.SIGXCPU:
        return ChildTimedOut(f"it used more than {limits.cpu_seconds} s of processor time")
    if end.signal == signal.SIGKILL and end.cpu_seconds >= limits.cpu_seconds:
        return ChildTimedOut(f"it used more than {limits.cpu_seconds} s of processor time")
    return ChildDied(f"{end.sentence()} before it answered")


def _with_tail(found: str, end: ChildExit) -> str:
    """Add the last line of standard error, which names the exception."""
    lines = end.stderr_tail.strip().splitlines()
    return f"the sandboxed child failed: {found}" + (f"; last words: {lines[-1]}" if lines else "")


def _milliseconds_until(moment: float) -> int:
    return math.ceil(1000 * max(0.0, moment - time.monotonic()))
