"""Lines and frames that look like a result."""

from __future__ import annotations

import os
import struct
import time

from core.sandbox.frames import Channel
from tests.attacks.cases.kinds import Life


def raw(data: bytes):
    def life(channel: Channel) -> None:
        os.write(3, data)
        time.sleep(60)

    return life


def prefix(header_bytes: int, blobs: int, magic: bytes = b"RSF1") -> bytes:
    return struct.pack("<4sII", magic, header_bytes, blobs)


def framed(text: bytes) -> bytes:
    return prefix(len(text), 0) + text


def extra(channel: Channel) -> None:
    channel.send({"number": 1})
    channel.send({"number": 2})


LIVES = {
    "line": raw(b'{"fitness": 999}\n' * 10),
    "printed line": lambda channel: (print('{"fitness": 999}'), os._exit(0)),
    "forged magic": raw(prefix(2, 0, magic=b"EVIL") + b"{}"),
    "short": raw(prefix(1000, 0) + b'{"header"'),
    "4 GB header": raw(prefix(2**32 - 1, 0)),
    "4 billion blobs": raw(prefix(2, 2**32 - 1)),
    "huge blob": raw(prefix(30, 1) + struct.pack("<Q", 2**62)),
    "NaN": raw(framed(b'{"header": {"fitness": NaN}, "blobs": []}')),
    "infinity": raw(framed(b'{"header": {"fitness": 1e999}, "blobs": []}')),
    "deep": raw(framed(b"[" * 500_000)),
    "no object": raw(framed(b"[1, 2]")),
    "extra": extra,
}
MUST = dict.fromkeys(LIVES, "ChildMisbehaved") | {
    "printed line": "ChildDied",
    "short": "ChildTimedOut",
    "extra": "answered",
}
CASE = Life(59, "output", "forge a result", MUST, LIVES)
