"""A gigabyte of prints."""

from __future__ import annotations

import os

from core.sandbox.frames import Channel
from tests.attacks.cases.kinds import Life

PIECE = b"flood " * 10_000


def flood(channel: Channel) -> None:
    for _ in range(1024**3 // len(PIECE)):
        os.write(2, PIECE)
    channel.send({"done": True})


CASE = Life(56, "output", "print a gigabyte", {"flood": "ChildMisbehaved"}, {"flood": flood})
