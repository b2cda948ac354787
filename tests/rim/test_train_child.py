"""The training child: what it does, who may speak to the driver of a GPU, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import core.training.train_child
from core.sandbox import GIB, Limits, Sandbox
from core.sandbox.codec import Frame
from core.training import supervising
from core.training.backends import choose_backend
from core.training.minutes import Trained
from core.training.news import read_news
from core.training.protocol import (
    Advanced,
    Begun,
    Broken,
    Done,
    MemberDone,
    MemberFailed,
    MemberSaved,
    PackSaved,
    Snapshot,
    news_message,
    order_message,
)
from core.training.saving import note, recall
from core.training.supervising import Supervision
from tests.rim.laboratory_parts import MemoryArtifacts
from tests.rim.train_child_parts import (
    CURVE,
    RICH,
    UPRIGHT,
    a_pack,
    an_order,
    carried_out,
    only,
    program,
    until_the_last_word,
)
from tests.rim.training_parts import PENDULUM

NAN = program("return {'upright': np.where(np.abs(next_obs.x) > 0.1, np.nan, 1.0)}")


UNLOADABLE = replace(UPRIGHT, source="import os\n")


# --- who may speak to the driver of a GPU ---------------------------------------------------------


@pytest.fixture
def a_machine_with_a_gpu(monkeypatch):
    """One on which MuJoCo Warp is installed as well."""
    monkeypatch.setattr(supervising.gpu, "devices", lambda: [Path("/dev/nvidia0")])
    monkeypatch.setattr(supervising, "find_spec", lambda name: name == "mujoco_warp")


@pytest.mark.parametrize(
    ("wish", "algorithm", "adapter", "device"),
    [
        ("cpu", "ppo", "mujoco-batch", "cpu"),
        ("cuda:1", "ppo", "numpy", "cuda:1"),
        ("cuda", "sac", "mujoco-batch", "cpu"),
        ("auto", "dqn", "numpy", "cpu"),
        ("auto", "ppo", "numpy", "cpu"),
        ("auto", "ppo", "gymnasium", "cpu"),
        ("auto", "ppo", "mujoco-batch", "auto"),
        ("auto", "ppo", "mujoco-data", "auto"),
    ],
)
def test_only_what_may_be_trained_on_a_device_gets_the_profile_of_one(
    a_machine_with_a_gpu, wish, algorithm, adapter, device
):
    found = replace(a_pack().preflight, adapter=adapter)
    training = replace(a_pack().training, algorithm=algorithm, settings={})
    order, supervision = a_pack(preflight=found, training=training), Supervision(device=wish)
    assert supervision.device_for(order) == device
    assert supervision.limits(order).gpu == (device != "cpu")


@pytest.mark.parametrize(
    ("devices", "installed"),
    [([], True), ([Path("/dev/nvidia0")], False)],
    ids=["no GPU", "no Warp"],
)
def test_auto_is_the_host_where_something_is_missing(monkeypatch, devices, installed):
    monkeypatch.setattr(supervising.gpu, "devices", lambda: devices)
    monkeypatch.setattr(supervising, "find_spec", lambda name: installed or None)
    order = a_pack(preflight=replace(a_pack().preflight, adapter="mujoco-batch"))
    assert not Supervision(device="auto").limits(order).gpu


def test_what_a_child_says_in_words_is_cleaned():
    header, blobs = news_message(MemberFailed(0, 1, "red\x1b[31m\nnew line " + "x" * 5000))
    reason = read_news(Frame(header, blobs), 1).reason
    assert reason.isprintable()
    assert len(reason) <= 1200


# --- what it does ---------------------------------------------------------------------------------


def test_a_pack_is_trained_and_tells_of_it():
    news = carried_out(an_order({"native": None, "0.0": UPRIGHT, "0.1": RICH}))
    assert [one.steps for one in only(news, Snapshot)] == [512, 1024]
    assert all(set(one.weights) == {0, 1, 2} for one in only(news, Snapshot))
    assert [one.member for one in only(news, MemberDone)] == [0, 1, 2]
    assert all(one.env_steps == 1024 for one in only(news, MemberDone))
    curve = only(news, MemberDone)[1].curve
    upright = curve.series["component.upright"]
    assert curve.series["training_reward"] == pytest.approx(upright, rel=1e-5)
    assert not only(news, MemberFailed)
    assert news[0] == Begun("numpy", choose_backend().name)
    assert only(news, Advanced)[0].steps_per_second > 0
    assert news[-1].seconds > 0


def test_broken_programs_fail_alone():
    news = carried_out(an_order({"0.0": UNLOADABLE, "0.1": UPRIGHT, "0.2": NAN}))
    failures = {one.member: one.reason for one in only(news, MemberFailed)}
    assert set(failures) == {0, 2}
    assert "import of 'os' is not allowed" in failures[0]
    assert "nan" in failures[2]
    assert [one.member for one in only(news, MemberDone)] == [1]
    assert isinstance(news[-1], Done)


AFTER_1000_STEPS = """
seen = []
def worth(angle):
    seen.extend(angle)
    return np.where(len(seen) > 1000, np.nan, 1.0) * np.ones_like(angle)
"""


ON_THE_10TH_CALL = """
calls = []
def worth(angle):
    calls.append(1)
    assert len(calls) != 10
    return angle
"""


@pytest.mark.parametrize(
    ("worth", "words"),
    [
        pytest.param(AFTER_1000_STEPS, "nan in row", id="NaN after 1,000 steps"),
        pytest.param(ON_THE_10TH_CALL, "AssertionError", id="raises on the 10th call"),
    ],
)
def test_a_program_that_breaks_late_is_masked_and_the_others_do_not_feel_it(worth, words):
    body = "return {'a': worth(next_obs.angle)}"
    late = replace(program(body, worth), has_features=False)
    sound = {"0.1": UPRIGHT, "native": None, "0.2": RICH}
    with_it = carried_out(an_order({"0.0": late, **sound}, steps=2048))
    without = carried_out(an_order(sound, steps=2048))
    (failure,) = only(with_it, MemberFailed)
    assert (failure.member, words in failure.reason) == (0, True), failure.reason
    assert failure.steps >= 1000
    ours = [(one.curve, one.checkpoint) for one in only(with_it, MemberDone)]
    theirs = [(one.curve, one.checkpoint) for one in only(without, MemberDone)]
    assert len(ours) == 3
    assert ours == theirs


@pytest.fixture
def saving_after_every_rollout(monkeypatch):
    always = {
        "SAVE_SECONDS": 0,
        "_SAVE_SHARE": 0,
        "_SAVE_COST": 1e9,
        "_SAVED_BYTES_PER_SECOND": 1e12,
    }
    for name, value in always.items():
        monkeypatch.setattr(core.training.train_child, name, value)


def test_a_pack_is_saved_on_the_way_and_goes_on_from_there(saving_after_every_rollout):
    arms = {"native": None, "0.0": NAN, "0.1": RICH}
    news = carried_out(an_order(arms))
    steps = [one.steps for one in only(news, PackSaved)]
    assert steps == sorted(set(steps))
    assert 0 < steps[0] < steps[-1] < 1024
    first = news[: news.index(only(news, PackSaved)[0])]
    saved = {one.member: one for one in only(first, MemberSaved)}
    rest = {"native": None, "0.1": RICH}
    resume = {0: saved[0].checkpoint, 1: saved[2].checkpoint}
    one, other = (carried_out(an_order(rest, resume=resume)) for _ in range(2))
    assert [m.env_steps for m in only(one, MemberDone)] == [1024, 1024]
    assert only(one, MemberDone) == only(other, MemberDone)
    assert only(one, MemberDone)[0].curve.steps[0] > steps[0]


def test_saving_on_the_way_changes_nothing_in_what_is_learnt(request):
    order = an_order({"native": None, "0.1": RICH})
    undisturbed = carried_out(order)
    request.getfixturevalue("saving_after_every_rollout")
    saved = carried_out(order)
    assert only(saved, PackSaved)
    assert only(saved, MemberDone) == only(undisturbed, MemberDone)
    assert only(saved, Snapshot) == only(undisturbed, Snapshot)


def test_a_pack_of_nothing_but_broken_programs_ends_at_once():
    news = carried_out(an_order({"0.0": UNLOADABLE}, steps=10**9))
    assert [type(one) for one in news] == [MemberFailed, Begun, Done]


def test_the_next_rung_goes_on_from_the_checkpoints():
    first = carried_out(an_order({"0.0": RICH, "native": None}))
    saved = {one.member: one.checkpoint for one in only(first, MemberDone)}
    rung = an_order(
        {"0.0": RICH, "native": None},
        start_steps=1024,
        stop_steps=2048,
        total_steps=2048,
        checkpoint_at=(2048,),
        resume=saved,
    )
    one, other = carried_out(rung), carried_out(rung)
    assert [m.env_steps for m in only(one, MemberDone)] == [2048, 2048]
    assert only(one, Snapshot) == only(other, Snapshot)
    assert only(one, Advanced)[0].done < 1024


def test_a_program_that_breaks_on_the_next_rung_does_not_stop_its_neighbours():
    first = carried_out(an_order({"0.0": RICH, "native": None}, steps=512))
    saved = {one.member: one.checkpoint for one in only(first, MemberDone)}
    rung = an_order(
        {"0.0": UNLOADABLE, "native": None}, start_steps=512, checkpoint_at=(1024,), resume=saved
    )
    news = carried_out(rung)
    assert [one.member for one in only(news, MemberFailed)] == [0]
    assert [one.member for one in only(news, MemberDone)] == [1]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"task": replace(PENDULUM, environment="Nowhere-v0")}, "EnvironmentUnusable", "Nowhere"),
        ({"settings": {"epoch": 3}}, "InvalidInput", "'epochs'"),
        ({"resume": {0: b"no checkpoint"}}, "CheckpointUnusable", "a checkpoint"),
    ],
    ids=["no environment", "an unknown setting", "no checkpoint"],
)
def test_what_is_nobody_s_program_s_fault_is_said_as_such(changes, error, words):
    news = carried_out(an_order({"native": None}, **changes))
    assert isinstance(news[-1], Broken)
    assert news[-1].error == error
    assert words in news[-1].reason


@pytest.fixture(scope="module")
def sandbox():
    box = Sandbox(("core.training.train_child",))
    yield box
    box.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment", ["CartPole-v1", "Pendulum-v1", "Hopper-v5", "LunarLander-v3"]
)
def test_it_trains_behind_the_wall(sandbox, environment):
    task = replace(PENDULUM, environment=environment)
    order = an_order({"native": None}, task=task, steps=512)
    limits = Limits(wall_seconds=120, cpu_seconds=120, memory_bytes=2 * GIB)
    with sandbox.spawn("core.training.train_child:train", limits) as child:
        child.send(*order_message(order))
        news = until_the_last_word(child.receive, order)
    assert isinstance(news[-1], Done)
    assert only(news, MemberDone)[0].env_steps == 512


# --- what is kept of it ---------------------------------------------------------------------------


def halfway():
    native = Trained(
        snapshots=[(1250, b"weights")],
        curve=CURVE,
        checkpoint=b"state",
        env_steps=300,
        seconds=1.5,
        adapter="numpy",
        backend="kernel",
    )
    failed = Trained(failure="NaN", env_steps=40, adapter="numpy", backend="kernel")
    return {("0.1", 7): failed, ("native", 7): native}


def test_what_is_noted_of_a_pack_is_recalled_as_it_was():
    order, artifacts = a_pack(), MemoryArtifacts()
    noted = note(order, halfway(), artifacts)
    assert [(s.arm, s.env_steps, s.failure) for s in noted] == [
        ("0.1", 1040, "NaN"),
        ("native", 1300, None),
    ]
    saved = {(s.arm, s.seed): s for s in noted}
    recalled = recall(replace(order, saved=saved), artifacts)
    assert recalled == halfway()  # who failed early is not charged with what the others lived


def test_a_pack_whose_bytes_are_gone_begins_its_rung_anew():
    saved = {(s.arm, s.seed): s for s in note(a_pack(), halfway(), MemoryArtifacts())}
    assert recall(replace(a_pack(), saved=saved), MemoryArtifacts()) == {}
    assert recall(a_pack(), MemoryArtifacts()) == {}


def test_members_need_not_be_equally_far_and_who_has_not_begun_begins():
    order, artifacts = a_pack(), MemoryArtifacts()
    only_native = {m: one for m, one in halfway().items() if m[0] == "native"}
    noted = note(order, only_native, artifacts)
    assert [s.env_steps for s in noted] == [1000, 1300]
    recalled = recall(replace(order, saved={(s.arm, s.seed): s for s in noted}), artifacts)
    assert recalled == {**only_native, ("0.1", 7): Trained()}
