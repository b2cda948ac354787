"""What the parent makes of the ways in which a training child can end: whose fault, and who goes on.

Children are played by functions here, which say what a real one would say; `test_laboratory.py` has
the same with real ones.
"""

from __future__ import annotations

import pytest

from core.errors import EnvironmentUnusable, InvalidInput, TrainingFailed
from core.ports import Arm
from core.records import NATIVE, Curve, Preflight, Training
from core.sandbox.codec import Frame
from core.training.protocol import Broken, Done, MemberDone, Snapshot, news_message, read_order
from core.training.retrying import train_pack
from core.training.supervising import Supervision
from tests.rim.laboratory_parts import CART_POLE, MemoryArtifacts, an_order, rewarding

FOUND = Preflight((), 4, {"kind": "discrete", "n": 2}, 500, {}, 0.0, 1e5, "numpy", "", {})
CURVE = Curve((500,), {"native_return": (20.0,)})
UPRIGHT = rewarding("return {'a': obs.angle}")


class Children:
    """Stands in the sandbox's place: `live(order, links)` yields the news of each child, or raises."""

    def __init__(self, live):
        self.live, self.orders, self.limits = live, [], []

    def spawn(self, entry, limits, links=()):
        self.limits.append(limits)
        return PlayedChild(self, links)


class PlayedChild:
    def __init__(self, children, links):
        self._children, self._links = children, links

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for link in self._links:
            link.close()

    def send(self, header, blobs):
        order = read_order(Frame(header, blobs))
        self._children.orders.append(order)
        self._life = self._children.live(order, self._links)

    def receive_or_none(self, seconds):
        return Frame(*news_message(next(self._life)))


def ignore(progress):
    pass


def a_pack(*arms, **changes):
    programs = {arm: None if arm == NATIVE else UPRIGHT for arm in arms}
    return an_order(
        CART_POLE,
        FOUND,
        arms={arm: Arm(arm, one) for arm, one in programs.items()},
        members=tuple((arm, 0) for arm in arms),
        training=Training(steps=1000, envs=4),
        **changes,
    )


def trained(order, live, artifacts=None, watch=ignore, **how):
    """What became of each arm, and the children that it took."""
    children = Children(live)
    found = train_pack(children, artifacts or MemoryArtifacts(), order, Supervision(), watch, **how)
    return {arm: one for (arm, _), one in found.items()}, children


def arms_of(order):
    return [arm for arm, _ in order.members]


def success(order):
    """What a child says from its order to its last word."""
    yield Snapshot(1000, dict.fromkeys(range(len(order.members)), b"weights"))
    for place in range(len(order.members)):
        yield MemberDone(place, order.stop_steps, CURVE, b"state")
    yield Done(1.0, "numpy", "torch")


# --- nobody's program's fault ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EnvironmentUnusable, InvalidInput, TrainingFailed])
@pytest.mark.parametrize("arms", [(NATIVE,), ("0.0",), ("0.0", "0.1")], ids=len)
def test_what_the_child_says_to_be_no_program_s_fault_is_an_error_and_no_failed_run(kind, arms):
    def live(order, links):
        yield Broken(kind.__name__, "0 CUDA devices")

    with pytest.raises(kind, match="0 CUDA devices") as caught:
        trained(a_pack(*arms), live)
    assert type(caught.value) is kind
