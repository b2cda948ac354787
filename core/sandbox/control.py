"""The wire between workers and the zygote: one JSON object per line, with file descriptors.

Both ends are ours, yet lengths are capped and the peer's user is checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_LINE_BYTES = 64 * 1024
MAX_DESCRIPTORS = 20


def send_message(
    connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()
) -> None:
    """Send one line, and descriptors with it.  Raises OSError."""
    line = json.dumps(message).encode() + b"\n"
    if descriptors:
        sent = socket.send_fds(connection, [line], list(descriptors))
        line = line[sent:]
    connection.sendall(line)


class Messages:
    """Puts lines together from what a connection delivers; keeps the descriptors that came."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._bytes = b""
        self.descriptors: list[int] = []
        self.closed = False

    def read(self) -> dict[str, Any] | None:
        """Read once; return a message if one is complete.  `closed` tells of the end."""
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self.connection, MAX_LINE_BYTES, MAX_DESCRIPTORS
            )
        except BlockingIOError:
            return None
        except ConnectionResetError:
            data, descriptors = b"", []
        self.descriptors += descriptors
        self.closed = not data
        self._bytes += data
        return self.next_buffered()

    def close_descriptors(self) -> None:
        """Close the descriptors that came; whoever forked has its own."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def next_buffered(self) -> dict[str, Any] | None:
        """Return a message that has arrived already, if there is one."""
        line, newline, rest = self._bytes.partition(b"\n")
        if not newline:
            if len(self._bytes) > MAX_LINE_BYTES:
                raise ValueError("a message without end")
            return None
        self._bytes = rest
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("a message that is no object")
        return message


def peer_is_ours(connection: socket.socket) -> bool:
    """Return whether the process at the other end runs as our own user."""
    if sys.platform != "linux":
        return True  # the folder of the socket is private
    size = struct.calcsize("3i")
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("3i", peer)
    return bool(uid == os.geteuid())


def fingerprint(root: Path, preload: Sequence[str], import_paths: Sequence[Path]) -> str:
    """Return what two workers must agree on to share a zygote."""
    agreed = json.dumps([sys.executable, str(root), [*preload], [str(p) for p in import_paths]])
    return hashlib.sha256(agreed.encode()).hexdigest()
