"""What runs inside: preloaded by the zygote of the suite."""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.sandbox.attacks import Target, attempt, every_case
from core.sandbox.frames import Channel, Link
from tests.attacks.cases import LIVES

CASES = every_case()


def attack_once(channel: Channel, links: Sequence[Link]) -> None:
    """Carry out the attack that is named, and tell what came of it."""
    order = channel.receive().header
    case, target = CASES[order["number"]], Target(**order["target"])
    channel.send({"outcome": attempt(case, target)})
    if case.ends == "orphaned":
        time.sleep(60)


def live(channel: Channel, links: Sequence[Link]) -> None:
    """Live the life that is named: what a hostile child says and how it ends."""
    order = channel.receive().header
    LIVES[order["number"]].lives[order["life"]](channel)
