"""Terminal escapes, controls of writing direction, NUL and half characters."""

from __future__ import annotations

import os
import sys

from core.sandbox.frames import Channel
from tests.attacks.cases.kinds import Life

DIRT = (
    b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x00 \xff\xfe "
    b"\xe2\x80\xae reversed \xed\xa0\x80 \xc2\x9b end"
)


def dirty(channel: Channel) -> None:
    os.write(2, DIRT + b"\n")
    sys.exit(3)


def dirty_answer(channel: Channel) -> None:
    channel.send({"text": "lone \ud800 surrogate"})


def dirty_header(channel: Channel) -> None:
    text = b'{"header": {"text": "\\u0000 \\ud800"}, "blobs": []}'
    os.write(3, b"RSF1" + len(text).to_bytes(4, "little") + bytes(4) + text)


CASE = Life(
    58,
    "output",
    "print what harms terminals, databases and pages",
    {"print": "ChildDied", "answer": "ChildDied", "header": "ChildMisbehaved"},
    {"print": dirty, "answer": dirty_answer, "header": dirty_header},
)
