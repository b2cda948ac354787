"""The wire between a worker and a jailed child: checked frames over a stream socket.

A frame is a fixed prefix (magic, header length, number of blobs), the sizes of the blobs, a JSON
header, and the blobs.  Either end may be hostile, so every length is checked against a cap before
memory is set aside, and the JSON may hold neither NaN, infinities, NUL nor lone surrogates.

Nothing here changes the mode of a socket: inside the jail `ioctl` is refused, so waiting is done
with `poll` and `MSG_DONTWAIT`.
"""

from __future__ import annotations

import json
import math
import re
import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from core.errors import SandboxFailed

MAGIC = b"RSF1"
MAX_HEADER_BYTES = 1024**2
MAX_BLOB_BYTES = 256 * 1024**2
MAX_BLOBS = 4096
MAX_NAME_CHARACTERS = 200

_PREFIX = struct.Struct("<4sII")  # magic, header bytes, number of blobs
_MAX_WAIT_MILLISECONDS = 2**30
_READ_BYTES = 1024**2
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class ChannelClosed(SandboxFailed):
    """The other end is gone."""


class FrameTimeout(SandboxFailed):
    """A whole frame did not pass before the deadline."""


class BadFrame(SandboxFailed):
    """The bytes are not a frame, or a frame above the caps."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: a JSON object and named binary blobs."""

    header: dict[str, Any]
    blobs: dict[str, bytes] = field(default_factory=dict)


class Channel:
    """Sends and receives whole frames over a connected stream socket that it owns."""

    def __init__(self, connection: socket.socket, *, max_blob_bytes: int = MAX_BLOB_BYTES) -> None:
        self._socket = connection
        self._max_blob_bytes = max_blob_bytes
        self._incoming = _Incoming(max_blob_bytes)

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
        while not outgoing.write_now(self._socket):
            if not _wait(self._socket, select.POLLOUT, deadline):
                self.close()
                raise FrameTimeout("the other end did not take the frame in time")

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
        incoming, self._incoming = self._incoming, _Incoming(self._max_blob_bytes)
        return incoming.frame()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class FloatLink:
    """Fixed-size frames of float32 in lock step, between scorer and actor; no framing at all."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, data: bytes | bytearray | memoryview, deadline: float | None = None) -> None:
        """Send all bytes.  Raises ChannelClosed, FrameTimeout."""
        view = memoryview(data).cast("B")
        while view:
            count = _send(self._socket, view)
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


class Outgoing:
    """One frame on its way out, written piece by piece as the socket takes it."""

    def __init__(
        self, header: Mapping[str, Any], blobs: Mapping[str, bytes], max_blob_bytes: int
    ) -> None:
        views = [memoryview(blob).cast("B") for blob in blobs.values()]
        sizes = [view.nbytes for view in views]
        text = _encode(header, list(blobs))
        _check_lengths(len(text), len(sizes), sum(sizes), max_blob_bytes)
        prefix = _PREFIX.pack(MAGIC, len(text), len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)
        self._pieces = [memoryview(prefix + text), *(view for view in views if view)]

    def write_now(self, connection: socket.socket) -> bool:
        """Write what fits now; return whether all is out."""
        while self._pieces:
            count = _send(connection, self._pieces[0])
            if count is None:
                return False
            self._pieces[0] = self._pieces[0][count:]
            if not self._pieces[0]:
                del self._pieces[0]
        return True


class _Incoming:
    """One frame on its way in: prefix, then sizes, then header and blobs, each checked in turn.

    Memory grows with the bytes that have arrived, never with the lengths that are claimed.
    """

    def __init__(self, max_blob_bytes: int) -> None:
        self._max_blob_bytes = max_blob_bytes
        self._lengths = [_PREFIX.size]
        self._parts: list[bytearray] = [bytearray()]
        self._header_bytes = 0

    @property
    def complete(self) -> bool:
        return len(self._parts) > len(self._lengths)

    def wanted(self) -> int:
        """Return how many bytes may be read next."""
        return min(self._lengths[len(self._parts) - 1] - len(self._parts[-1]), _READ_BYTES)

    def take(self, data: bytes) -> None:
        self._parts[-1] += data
        while not self.complete and len(self._parts[-1]) == self._lengths[len(self._parts) - 1]:
            self._finish_part()

    def _finish_part(self) -> None:
        if len(self._parts) == 1:
            self._read_prefix()
        elif len(self._lengths) == 2:  # noqa: PLR2004  prefix and sizes are there
            self._read_sizes()
        self._parts.append(bytearray())

    def _read_prefix(self) -> None:
        magic, self._header_bytes, count = _PREFIX.unpack(self._parts[0])
        if magic != MAGIC:
            raise BadFrame(f"{magic!r}", expected=f"a frame that starts with {MAGIC!r}")
        _check_lengths(self._header_bytes, count, 0, self._max_blob_bytes)
        self._lengths.append(8 * count)

    def _read_sizes(self) -> None:
        sizes = struct.unpack(f"<{len(self._parts[1]) // 8}Q", self._parts[1])
        _check_lengths(self._header_bytes, len(sizes), sum(sizes), self._max_blob_bytes)
        self._lengths += [self._header_bytes, *sizes]

    def frame(self) -> Frame:
        header, names = _decode(bytes(self._parts[2]))
        blobs = self._parts[3:-1]
        if len(names) != len(blobs) or len(set(names)) != len(names):
            raise BadFrame(f"{names}"[:200], expected=f"{len(blobs)} different names of blobs")
        return Frame(header, {name: bytes(blob) for name, blob in zip(names, blobs, strict=True)})


def _check_lengths(header_bytes: int, blobs: int, blob_bytes: int, max_blob_bytes: int) -> None:
    if header_bytes > MAX_HEADER_BYTES:
        raise BadFrame(f"a header of {header_bytes} bytes", expected=f"<= {MAX_HEADER_BYTES}")
    if blobs > MAX_BLOBS:
        raise BadFrame(f"{blobs} blobs", expected=f"<= {MAX_BLOBS}")
    if blob_bytes > max_blob_bytes:
        raise BadFrame(f"blobs of {blob_bytes} bytes", expected=f"<= {max_blob_bytes} in total")


def _encode(header: Mapping[str, Any], names: list[str]) -> bytes:
    envelope = {"header": dict(header), "blobs": names}
    try:
        text = json.dumps(envelope, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadFrame(f"{error}", expected="a header that JSON can say") from error
    _decode(text)  # the receiver's rules, met by the sender who can still explain itself
    return text


def _decode(text: bytes) -> tuple[dict[str, Any], list[str]]:
    try:
        envelope = json.loads(text.decode(), parse_float=_finite, parse_constant=_refuse_constant)
        if b"\\u" in text:  # an escape may stand for half a surrogate pair, which is no text
            json.dumps(envelope, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"{error}"[:200], expected="a header in JSON") from error
    if _ESCAPED_NUL.search(text):
        raise BadFrame("NUL in the header", expected="text without NUL")
    if not _is_envelope(envelope):
        raise BadFrame("something else", expected="a JSON object and a list of names of blobs")
    return envelope["header"], envelope["blobs"]


def _is_envelope(envelope: object) -> bool:
    return (
        isinstance(envelope, dict)
        and isinstance(envelope.get("header"), dict)
        and isinstance(envelope.get("blobs"), list)
        and all(_is_name(name) for name in envelope["blobs"])
    )


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARACTERS


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):  # 1e999 is valid JSON
        raise ValueError(f"the number {digits[:20]} is not finite")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _send(connection: socket.socket, data: memoryview) -> int | None:
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
