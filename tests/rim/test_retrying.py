"""What the parent makes of the ways in which a training child can end: whose fault, and who goes on.

Children are played by functions here, which say what a real one would say; `test_laboratory.py` has
the same with real ones.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest

from core.errors import ClaimLost, EnvironmentUnusable, InvalidInput, TrainingFailed
from core.ports import Arm, Progress
from core.records.kinds import NATIVE
from core.records.measured import Curve, Preflight
from core.records.spec import Training
from core.sandbox import ChildMisbehaved
from core.sandbox.codec import Frame
from core.training import attending
from core.training.attending import Attended, ChildSilent
from core.training.protocol import (
    Advanced,
    Begun,
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
from tests.rim.laboratory_parts import CART_POLE, MemoryArtifacts, an_order, ignore, rewarding

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
    if order.checkpoint_at:
        yield Snapshot(1000, dict.fromkeys(range(len(order.members)), b"weights"))
    for place in range(len(order.members)):
        yield MemberDone(place, order.stop_steps, CURVE, b"state")
    yield Done(1.0)


@pytest.fixture(autouse=True)
def children_may_be_saved_at_once(monkeypatch):
    monkeypatch.setattr("core.training.retrying.SOONEST_SECONDS", 0.0)


# --- nobody's program's fault ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EnvironmentUnusable, InvalidInput, TrainingFailed])
@pytest.mark.parametrize("arms", [(NATIVE,), ("0.0",), ("0.0", "0.1")], ids=len)
def test_what_the_child_says_to_be_no_program_s_fault_is_an_error_and_no_failed_run(kind, arms):
    def live(order, links):
        yield Broken(kind.__name__, "0 CUDA devices")

    with pytest.raises(kind, match="0 CUDA devices") as caught:
        trained(a_pack(*arms), live)
    assert type(caught.value) is kind


def test_a_checkpoint_that_is_none_fails_the_runs_of_its_arm_alone():
    """A program may have written it: the others of its pack go on, each by itself."""

    def live(order, links):
        if "0.0" not in arms_of(order):
            yield from success(order)
        yield Broken("CheckpointUnusable", "no header")

    found, children = trained(a_pack("0.0", "0.1", "0.2"), live)
    assert {arm: one.failure for arm, one in found.items() if one.failure} == {
        "0.0": "a training child: no header"
    }
    assert in_children(children) == [["0.0", "0.1", "0.2"], ["0.0"], ["0.1"], ["0.2"]]


def test_a_native_checkpoint_that_is_none_is_an_error_of_the_step():
    def live(order, links):
        yield Broken("CheckpointUnusable", "no header")

    with pytest.raises(TrainingFailed, match=r"native reward: .*no header"):
        trained(a_pack(NATIVE), live)


# --- who is to blame ------------------------------------------------------------------------------


def hangs_while_calling(arm, order, links):
    """A child that falls silent while an arm's number stands on the page."""
    os.pwrite(links[0].fileno(), (1 + arms_of(order).index(arm)).to_bytes(4, sys.byteorder), 0)
    raise ChildSilent("it said nothing")


def in_children(children):
    return [arms_of(order) for order in children.orders]


def test_an_arm_that_is_blamed_falls_again_alone_and_the_others_go_on_together():
    def live(order, links):
        yield Begun("numpy", "torch")
        if "0.0" in arms_of(order):
            yield Advanced(400 * len(order.members), 1e4)
            hangs_while_calling("0.0", order, links)
        yield from success(order)

    found, children = trained(a_pack("0.0", "0.1", "0.2"), live)
    assert in_children(children) == [["0.0", "0.1", "0.2"], ["0.0"], ["0.1", "0.2"]]
    assert "said nothing" in found["0.0"].failure
    assert (found["0.0"].env_steps, found["0.0"].adapter) == (400, "numpy")
    assert not found["0.1"].failure
    assert found["0.2"].checkpoint == b"state"


def test_an_arm_that_is_blamed_for_another_s_silence_does_not_fail():
    def live(order, links):
        if "0.1" in arms_of(order):
            hangs_while_calling(arms_of(order)[0], order, links)
        yield from success(order)

    found, children = trained(a_pack("0.0", "0.1", "0.2"), live)
    assert in_children(children) == [
        ["0.0", "0.1", "0.2"],
        ["0.0"],
        ["0.1", "0.2"],
        ["0.1"],
        ["0.2"],
    ]
    assert {arm: bool(one.failure) for arm, one in found.items()} == {
        "0.0": False,
        "0.1": True,
        "0.2": False,
    }


def test_where_nobody_can_be_blamed_every_arm_goes_on_alone():
    def live(order, links):
        if "0.1" in arms_of(order):
            raise ChildMisbehaved("a bad frame")
        yield from success(order)

    found, children = trained(a_pack("0.0", "0.1", "0.2"), live)
    assert in_children(children) == [["0.0", "0.1", "0.2"], ["0.0"], ["0.1"], ["0.2"]]
    assert [arm for arm, one in found.items() if one.failure] == ["0.1"]


def test_a_native_reward_that_falls_alone_is_an_error_of_the_machine():
    def live(order, links):
        raise ChildMisbehaved("a bad frame")
        yield

    with pytest.raises(TrainingFailed, match="native reward"):
        trained(a_pack("0.0", NATIVE), live)


class Cut(Exception):
    """Whoever watches goes away."""


def test_arms_that_go_on_alone_are_saved_as_well_and_nobody_repeats_what_is_done():
    kept = []

    def falls_together(order, links):
        if len(order.members) > 1:
            yield from saved_at(250, order)
            raise ChildMisbehaved("a bad frame")
        yield from saved_at(750, order)
        yield from success(order)

    def cut(saved):
        kept.append([one.env_steps for one in saved])
        if len(kept) == 3:
            raise Cut(saved)

    order = a_pack("0.0", "0.1", "0.2")
    disk = MemoryArtifacts()
    with pytest.raises(Cut) as caught:
        trained(order, falls_together, disk, save=cut)
    assert kept == [[250, 250, 250], [750, 250, 250], [1000, 750, 250]]
    saved = {(one.arm, one.seed): one for one in caught.value.args[0]}
    found, children = trained(replace(order, saved=saved), lambda o, links: success(o), disk)
    assert in_children(children) == [["0.0"], ["0.1"], ["0.2"]]
    assert [order.resume for order in children.orders] == [
        {0: b"state"},
        {0: b"0.1 at 750"},
        {0: b"0.2 at 250"},
    ]
    assert children.orders[0].checkpoint_at == ()  # its weights at the end are known
    assert all(len(one.snapshots) == 1 for one in found.values())


def test_a_child_that_says_to_be_saved_all_the_time_is_not_written_down_each_time(monkeypatch):
    monkeypatch.setattr("core.training.retrying.SOONEST_SECONDS", 60.0)

    def live(order, links):
        for steps in range(100, 1000, 100):
            yield from saved_at(steps, order)
        raise ChildMisbehaved("a bad frame")

    disk, kept = MemoryArtifacts(), []
    found, _ = trained(a_pack("0.0"), live, disk, save=kept.append)
    assert (kept, disk.stored) == ([], {})
    assert found["0.0"].failure


def saved_at(steps, order):
    """What a child says when it saves its members."""
    for place, arm in enumerate(arms_of(order)):
        yield MemberSaved(place, CURVE, f"{arm} at {steps}".encode())
    yield PackSaved(steps, 1.0)


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
    yield from saved_at(500, order)
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


def test_a_child_is_told_the_device_that_its_jail_allows():
    children = Children(lambda order, links: success(order))
    supervision = Supervision(device="auto")  # nothing simulates CartPole on a device
    train_pack(children, MemoryArtifacts(), a_pack("0.0"), supervision, ignore)
    assert (children.orders[0].device, children.limits[0].gpu) == ("cpu", False)
