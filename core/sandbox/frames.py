"""The wire between a worker and a jailed child, and the one between a scorer and an actor.

A frame is a fixed prefix (magic, header length, number of blobs), the sizes of the blobs, a JSON
header, and the blobs; `codec` has the rules.  Floats in lock step have no framing at all.

Nothing here changes the mode of a socket: inside the jail `ioctl` is refused, so waiting is done
with `poll` and `MSG_DONTWAIT`.
"""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Mapping
from typing import Any, Protocol

from core.errors import SandboxFailed
from core.sandbox.codec import MAX_BLOB_BYTES, BadFrame, Frame, Incoming, Outgoing

__all__ = [
    "BadFrame",
    "Channel",
    "ChannelClosed",
    "FloatLink",
    "Frame",
    "FrameTimeout",
    "Link",
    "send_now",
]

_MAX_WAIT_MILLISECONDS = 2**30


class ChannelClosed(SandboxFailed):
    """The other end is gone."""


class FrameTimeout(SandboxFailed):
    """A whole frame did not pass before the deadline."""


class Channel:
    """Sends and receives whole frames over a connected stream socket that it owns."""

    def __init__(self, connection: socket.socket, *, max_blob_bytes: int = MAX_BLOB_BYTES) -> None:
        self._socket = connection
        self._max_blob_bytes = max_blob_bytes
        self._incoming = Incoming(max_blob_bytes)

    def fileno(self) -> int:
        """Return the descriptor, for `poll`."""
        return self._socket.fileno()

    def send(
        self,
        header: Mapping[str, Any],
        blobs: Mapping[str, bytes] | None = None,
        deadline: float | None = None,
    ) -> None:
        """Send one frame.

        Args:
            header:   anything JSON can say; numbers finite, text valid Unicode without NUL.
            blobs:    name -> bytes-like.
            deadline: on `time.monotonic()`; None waits for ever.

        Raises:
            BadFrame:      the frame breaks the rules; nothing was sent.
            ChannelClosed: nobody reads.
            FrameTimeout:  not everything was taken in time; the channel is closed, for half a
                frame cannot be taken back.
        """
        outgoing = Outgoing(header, blobs or {}, self._max_blob_bytes)
        while not outgoing.write_now(self._send_now):
            if not _wait(self._socket, select.POLLOUT, deadline):
                self.close()
                raise FrameTimeout("the other end did not take the frame in time")

    def _send_now(self, data: memoryview) -> int | None:
        return send_now(self._socket, data)

    def receive(self, deadline: float | None = None) -> Frame:
        """Return the next frame; `deadline` (monotonic) is for the whole of it.

        A frame that is late is not lost: the next call goes on where this one stopped.

        Raises:
            BadFrame, ChannelClosed, FrameTimeout
        """
        while (frame := self.receive_now()) is None:
            if not _wait(self._socket, select.POLLIN, deadline):
                raise FrameTimeout("no complete frame arrived in time")
        return frame

    def receive_now(self) -> Frame | None:
        """Return a frame if one is complete, without waiting; what is partial is kept."""
        while not self._incoming.complete:
            data = _receive_now(self._socket, self._incoming.wanted())
            if data is None:
                return None
            self._incoming.take(data)
        incoming, self._incoming = self._incoming, Incoming(self._max_blob_bytes)
        return incoming.frame()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Link(Protocol):
    """What a child can be given besides its channel: a connected socket, or an open file."""

    def fileno(self) -> int:
        """Return its descriptor."""
        ...

    def close(self) -> None:
        """Close it in this process."""
        ...


class FloatLink:
    """Fixed-size frames of float32 in lock step, between scorer and actor; no framing at all."""

    def __init__(self, connection: Link) -> None:
        """Take a connected stream socket.

        Raises:
            TypeError: it is an open file.
        """
        if not isinstance(connection, socket.socket):
            raise TypeError(f"expected a socket, but found {connection!r}")
        self._socket = connection

    def send(self, data: bytes | bytearray | memoryview, deadline: float | None = None) -> None:
        """Send all bytes.  Raises ChannelClosed, FrameTimeout."""
        view = memoryview(data).cast("B")
        while view:
            count = send_now(self._socket, view)
            view = view[count or 0 :]
            if view and not _wait(self._socket, select.POLLOUT, deadline):
                raise FrameTimeout("the other end did not take the floats in time")

    def receive_exactly(self, nbytes: int, deadline: float | None = None) -> bytearray:
        """Return exactly `nbytes` bytes.  Raises ChannelClosed, FrameTimeout."""
        buffer = bytearray(nbytes)
        self.receive_into(memoryview(buffer), deadline)
        return buffer

    def receive_into(self, buffer: memoryview, deadline: float | None = None) -> None:
        """Fill a writable, contiguous buffer.  Raises ChannelClosed, FrameTimeout."""
        view = buffer.cast("B")
        while view:
            if deadline is not None and not _wait(self._socket, select.POLLIN, deadline):
                raise FrameTimeout(f"{len(view)} of {buffer.nbytes} bytes did not arrive in time")
            view = view[_receive_into(self._socket, view) :]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def send_now(connection: socket.socket, data: memoryview) -> int | None:
    """Send what fits now and return how much; None for nothing.  Raises ChannelClosed."""
    try:
        return connection.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ChannelClosed("the other end of the channel is closed") from error


def _receive_now(connection: socket.socket, nbytes: int) -> bytes | None:
    try:
        data = connection.recv(nbytes, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except ConnectionResetError as error:
        raise ChannelClosed("the other end of the channel is closed") from error
    if not data:
        raise ChannelClosed("the other end of the channel is closed")
    return data


def _receive_into(connection: socket.socket, room: memoryview) -> int:
    try:
        count = connection.recv_into(room)
    except ConnectionResetError as error:
        raise ChannelClosed("the other end of the channel is closed") from error
    if count == 0:
        raise ChannelClosed("the other end of the channel is closed")
    return count


def _wait(connection: socket.socket, event: int, deadline: float | None) -> bool:
    """Wait for the socket until the deadline; return whether it is ready."""
    poller = select.poll()
    poller.register(connection, event)
    if deadline is None:
        return bool(poller.poll())
    milliseconds = math.ceil(1000 * max(0.0, deadline - time.monotonic()))
    return bool(poller.poll(min(milliseconds, _MAX_WAIT_MILLISECONDS)))
