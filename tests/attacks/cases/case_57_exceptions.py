"""Exceptions whose text is huge, raises itself, or never ends."""

from __future__ import annotations

from core.sandbox.frames import Channel
from tests.attacks.cases.kinds import Life


class Liar(Exception):
    def __str__(self):
        raise KeyboardInterrupt


class Mute(Exception):
    def __str__(self):  # noqa: PLE0307
        while True:
            pass


def huge(channel: Channel) -> None:
    raise ValueError("y" * 50_000_000)


def lying(channel: Channel) -> None:
    raise Liar


def mute(channel: Channel) -> None:
    raise Mute


CASE = Life(
    57,
    "output",
    "raise an exception that harms its reader",
    {"huge": "ChildDied", "lying": "ChildDied", "mute": "ChildTimedOut"},
    {"huge": huge, "lying": lying, "mute": mute},
)
