"""What runs inside the wall when its start is timed; preloaded by the zygote."""

from __future__ import annotations

from collections.abc import Sequence

from core.sandbox.frames import Channel, Link


def answer(channel: Channel, links: Sequence[Link]) -> None:
    """Say that the child lives, locked in."""
    channel.send({"kind": "ready"})
