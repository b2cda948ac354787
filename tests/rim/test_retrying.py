"""What the parent makes of the ways in which a training child can end: whose fault, and who goes on.

Children are played by functions here, which say what a real one would say; `test_laboratory.py` has
the same with real ones.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import ClaimLost, EnvironmentUnusable, InvalidInput, TrainingFailed
from core.ports import Arm, Progress
from core.records import NATIVE, Curve, Preflight, Training
from core.sandbox.codec import Frame
from core.training import attending
from core.training.attending import Attended
from core.training.protocol import (
    Broken,
    Done,
    MemberDone,
    MemberSaved,
    PackSaved,
    Snapshot,
    news_message,
    read_order,
)
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


# --- the claim is kept alive ----------------------------------------------------------------------


class SlowDisk(MemoryArtifacts):
    """Tells `moved` of every transfer."""

    def __init__(self, moved):
        super().__init__()
        self.moved = moved

    def put(self, content):
        self.moved("put")
        return super().put(content)

    def get(self, sha256):
        self.moved("get")
        return super().get(sha256)


@pytest.fixture
def each_transfer_takes_half_a_second(monkeypatch):
    monkeypatch.setattr(attending, "POLL_SECONDS", 0.0)


def saving_once(order, links):
    for place in range(len(order.members)):
        yield MemberSaved(place, CURVE, f"state of {place}".encode())
    yield PackSaved(500, 1.0)
    yield from success(order)


def test_who_watches_is_told_between_the_bytes_of_members_that_are_saved_and_recalled(
    each_transfer_takes_half_a_second,
):
    heard, kept = [], []
    disk = SlowDisk(heard.append)
    order = a_pack("0.0", "0.1", "0.2")
    trained(order, saving_once, disk, heard.append, save=kept.append)
    first = heard.index("put")
    told = Progress("training", 1500, 3000, "saving")
    assert heard[first - 1 : first + 5] == [told, "put"] * 3
    heard.clear()
    saved = {(one.arm, one.seed): one for one in kept[0]}
    trained(replace(order, saved=saved), lambda order, links: success(order), disk, heard.append)
    assert [one if one == "get" else one.note for one in heard[:6]] == ["reading", "get"] * 3


def test_checkpoints_of_the_last_rung_and_of_other_runs_are_read_under_watch_as_well(
    each_transfer_takes_half_a_second,
):
    heard = []
    disk = SlowDisk(heard.append)
    last, other = (MemoryArtifacts.put(disk, content) for content in (b"last", b"other"))
    order = a_pack("0.0", resume={("0.0", 0): last}, warm={("0.0", 0): (other,)})
    _, children = trained(order, lambda order, links: success(order), disk, heard.append)
    assert children.orders[0].stored == {other: b"other"}
    assert [one if one == "get" else one.note for one in heard[:4]] == ["reading", "get"] * 2


def test_a_claim_that_is_lost_while_checkpoints_are_written_stops_the_work(
    each_transfer_takes_half_a_second,
):
    def lost(progress):
        if progress.note == "saving":
            raise ClaimLost("lapsed")

    kept, disk = [], MemoryArtifacts()
    with pytest.raises(ClaimLost):
        trained(a_pack("0.0"), saving_once, disk, lost, save=kept.append)
    assert not kept
    assert not disk.stored


def test_who_watches_is_told_no_more_often_than_it_wants_to_know():
    heard = []
    attended = Attended(MemoryArtifacts(), heard.append, Progress("measuring", 0, 1))
    for number in range(100):
        attended.put(bytes([number]))
    assert not heard
