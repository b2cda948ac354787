"""How a frame looks as bytes.  Either end may be hostile, so everything is checked.

Every length is checked against a cap before it is believed, and the JSON may hold neither NaN,
infinities, NUL nor lone surrogates: they break databases, pages and comparisons further on.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from core.errors import SandboxFailed

MAGIC = b"RSF1"
MAX_HEADER_BYTES = 1024**2
MAX_BLOB_BYTES = 256 * 1024**2
MAX_BLOBS = 4096
MAX_NAME_CHARACTERS = 200

_PREFIX = struct.Struct("<4sII")  # magic, header bytes, number of blobs
_READ_BYTES = 1024**2
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class BadFrame(SandboxFailed):
    """The bytes are not a frame, or a frame above the caps."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: a JSON object and named binary blobs."""

    header: dict[str, Any]
    blobs: dict[str, bytes] = field(default_factory=dict)


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

    def write_now(self, send: Callable[[memoryview], int | None]) -> bool:
        """Write what `send` takes now (None: nothing); return whether all is out."""
        while self._pieces:
            count = send(self._pieces[0])
            if count is None:
                return False
            self._pieces[0] = self._pieces[0][count:]
            if not self._pieces[0]:
                del self._pieces[0]
        return True


class Incoming:
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
        """Whether all bytes of the frame are here."""
        return len(self._parts) > len(self._lengths)

    def wanted(self) -> int:
        """Return how many bytes may be read next."""
        return min(self._lengths[len(self._parts) - 1] - len(self._parts[-1]), _READ_BYTES)

    def take(self, data: bytes) -> None:
        """Take up to `wanted()` bytes.  Raises BadFrame."""
        self._parts[-1] += data
        while not self.complete and len(self._parts[-1]) == self._lengths[len(self._parts) - 1]:
            self._finish_part()

    def _finish_part(self) -> None:
        if len(self._parts) == 1:
            self._read_prefix()
        elif len(self._lengths) == 2:  # prefix and sizes are there
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
        """Return the frame, once complete.  Raises BadFrame."""
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
