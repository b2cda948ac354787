"""The training child: its order, its news, and that it believes neither programs nor silence."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import core.training.train_child
from core.ports import Arm, PackOrder
from core.records.kinds import FITNESS
from core.records.measured import Curve, Preflight
from core.records.programs import Program
from core.records.spec import Training
from core.records.task import Fitness
from core.sandbox import GIB, Limits, Sandbox
from core.sandbox.codec import BadFrame, Frame
from core.sandbox.frames import Channel
from core.training import supervising
from core.training.backends import choose_backend
from core.training.minutes import Minutes, Trained
from core.training.news import read_news
from core.training.numpy_policy import MOST_BYTES
from core.training.protocol import (
    LAST_WORDS,
    Advanced,
    Begun,
    Broken,
    Done,
    MemberDone,
    MemberFailed,
    MemberSaved,
    PackSaved,
    Snapshot,
    TrainOrder,
    news_message,
    order_message,
    read_order,
    train_order,
)
from core.training.saving import note, recall
from core.training.supervising import Supervision
from core.training.train_child import train
from tests.rim.laboratory_parts import MemoryArtifacts
from tests.rim.training_parts import CART_POLE, PENDULUM, QUICK

CURVE = Curve((128, 256), {"native_return": (20.0, 21.5)})


def program(body, features=""):
    source = (
        f"import numpy as np\n{features}\ndef reward(obs, action, next_obs, params):\n    {body}\n"
    )
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    return Program(source, sha256, has_reward=True, has_features=bool(features))


UPRIGHT = program("return {'upright': 1 - np.abs(next_obs.angle)}")
RICH = program(
    "return {'upright': features(next_obs)['cosine']}",
    "def features(obs):\n    return {'cosine': np.cos(obs.angle)}\n",
)
NAN = program("return {'upright': np.where(np.abs(next_obs.x) > 0.1, np.nan, 1.0)}")
UNLOADABLE = replace(UPRIGHT, source="import os\n")


def an_order(arms, steps=1024, **changes):
    order = TrainOrder(
        task=CART_POLE,
        settings=QUICK,
        envs=4,
        mode="replace",
        weight=0.02,
        members=tuple((arm, 0) for arm in arms),
        programs=arms,
        start_steps=0,
        stop_steps=steps,
        total_steps=steps,
        checkpoint_at=(steps // 2, steps),
    )
    return dataclasses.replace(order, **changes)


def carried_out(order):
    """The news of a child that lives in a thread of this process."""
    ours, theirs = (Channel(end) for end in socket.socketpair())
    child = threading.Thread(target=train, args=(theirs, ()))
    child.start()
    ours.send(*order_message(order))
    news = until_the_last_word(ours.receive, order)
    child.join()
    ours.close()
    theirs.close()
    return news


def until_the_last_word(receive, order):
    news = []
    while not news or not isinstance(news[-1], (Done, Broken)):
        news.append(read_news(receive(), len(order.members)))
    return news


def only(news, kind):
    return [one for one in news if isinstance(one, kind)]


# --- what travels ---------------------------------------------------------------------------------


def test_an_order_arrives_as_it_was_sent():
    order = an_order({"native": None, "0.0": RICH}, resume={1: b"a checkpoint"})
    header, blobs = order_message(order)
    found = read_order(Frame(header, blobs))
    assert found == replace(order, task=replace(order.task, description=""))


def a_pack(**changes):
    preflight = Preflight((), 4, {"kind": "discrete", "n": 2}, 500, {}, 0.0, 1.0, "numpy", "", {})
    pack = PackOrder(
        task=CART_POLE,
        preflight=preflight,
        training=Training(steps=3000, envs=16, settings={"epochs": 4}),
        stage="search",
        rung=1,
        mode="add",
        weight=0.5,
        members=(("0.1", 7), ("native", 7)),
        arms={"0.1": Arm("0.1", UPRIGHT), "native": Arm("native")},
        start_steps=1000,
        stop_steps=2000,
        held_out=(1, 2),
        checkpoints=4,
    )
    return replace(pack, **changes)


def test_a_pack_s_order_says_what_the_child_needs():
    order = train_order(a_pack(), {("native", 7): b"saved"})
    assert order.settings == {"epochs": 4}
    assert order.checkpoint_at == (1250, 1500, 1750, 2000)
    assert order.total_steps == 3000
    assert order.resume == {1: b"saved"}
    assert order.programs == {"0.1": UPRIGHT, "native": None}


def test_a_pack_of_the_fitness_is_paid_the_fitness():
    rare = replace(CART_POLE, fitness=Fitness("success", where="x > 100"))  # which never holds
    order = an_order({FITNESS: None}, task=rare, fitness_alone=True, time_limit=500)
    (done,) = only(carried_out(order), MemberDone)
    assert set(done.curve.series["training_reward"]) == {0.0}
    (native,) = only(carried_out(replace(order, fitness_alone=False)), MemberDone)
    assert set(native.curve.series["training_reward"]) == {1.0}


@pytest.mark.parametrize(
    "news",
    [
        Advanced(1000, 2500.5),
        Snapshot(500, {0: b"weights", 2: b"others"}),
        MemberSaved(2, CURVE, b"checkpoint"),
        PackSaved(1024, 2.5),
        MemberFailed(1, 500, "it broke"),
        MemberDone(2, 1024, CURVE, b"checkpoint"),
        Begun("numpy", "kernel"),
        Done(12.5),
        Broken("EnvironmentUnusable", "no such environment"),
    ],
    ids=lambda news: type(news).__name__,
)
def test_news_arrive_as_they_were_sent(news):
    header, blobs = news_message(news)
    assert read_news(Frame(header, blobs), 3) == news
    assert (header["kind"] in LAST_WORDS) == isinstance(news, (Done, Broken))


@pytest.mark.parametrize(
    ("header", "blobs"),
    [
        ({}, {}),
        ({"kind": ["progress"]}, {}),
        ({"kind": "progress", "done": -1, "steps_per_second": 1.0}, {}),
        ({"kind": "progress", "done": True, "steps_per_second": 1.0}, {}),
        ({"kind": "progress", "done": 1, "steps_per_second": "fast"}, {}),
        ({"kind": "snapshot", "steps": 5}, {"3": b""}),
        ({"kind": "snapshot", "steps": 5}, {"9" * 5000: b""}),
        ({"kind": "snapshot", "steps": 2**60}, {}),
        ({"kind": "pack_saved", "steps": 1}, {}),
        ({"kind": "member_saved", "member": 0, "steps": [], "series": {}}, {}),
        ({"kind": "member_saved", "member": 3, "steps": [], "series": {}}, {"checkpoint": b""}),
        ({"kind": "member_failed", "member": 3, "steps": 1, "reason": "x"}, {}),
        ({"kind": "member_failed", "member": 0, "steps": 1, "reason": None}, {}),
        ({"kind": "member_done", "member": 0, "env_steps": 1, "steps": [], "series": {}}, {}),
        (
            {"kind": "member_done", "member": 0, "env_steps": 1, "steps": [1], "series": {"a": []}},
            {"checkpoint": b""},
        ),
        (
            {"kind": "member_done", "member": 0, "env_steps": 1, "steps": "1", "series": {}},
            {"checkpoint": b""},
        ),
        (
            {
                "kind": "member_done",
                "member": 0,
                "env_steps": 1,
                "steps": [1],
                "series": {"a": [10**400]},
            },
            {"checkpoint": b""},
        ),
        *(
            (
                {
                    "kind": "member_done",
                    "member": 0,
                    "env_steps": 1,
                    "steps": [steps],
                    "series": {},
                },
                {"checkpoint": b""},
            )
            for steps in (1e299, 2**60, 10**299, 1.5, -1, True, None)
        ),
    ],
)
def test_news_that_no_honest_child_tells_are_refused(header, blobs):
    with pytest.raises(BadFrame):
        read_news(Frame(header, blobs), 3)


def taken(*news):
    return [one.snapshots for one in minutes_of(*news).trained]


def minutes_of(*news, begun=None):
    minutes = Minutes(a_pack(), begun or [Trained(), Trained()])
    for one in news:
        minutes.take(one)
    return minutes


def test_weights_are_kept_once_for_each_member_and_requested_count():
    news = [Snapshot(steps, {0: b"a", 1: b"b"}) for steps in (1250, 1500, 1750, 2000)]
    own, other = taken(*news)
    assert own == [(1250, b"a"), (1500, b"a"), (1750, b"a"), (2000, b"a")]
    assert len(other) == 4


@pytest.mark.parametrize(
    ("snapshots", "words"),
    [
        ([Snapshot(1251, {0: b""})], "at 1251 steps"),
        ([Snapshot(1250, {0: b"a"}), Snapshot(1250, {0: b"b"})], "at 1250 steps"),
        ([Snapshot(2000, {0: b"a"}), Snapshot(1250, {0: b"b"})], "in order"),
        ([Snapshot(1250, {0: bytes(MOST_BYTES + 1)})], f"at most {MOST_BYTES}"),
    ],
    ids=["never requested", "once more", "back in time", "too large"],
)
def test_weights_that_nobody_asked_for_are_refused(snapshots, words):
    with pytest.raises(BadFrame, match=words):
        taken(*snapshots)


def test_what_a_pack_could_go_on_from_is_known_once_all_its_living_members_were_saved():
    news = [
        Snapshot(1250, {0: b"a", 1: b"b"}),
        MemberSaved(0, CURVE, b"first"),
        MemberSaved(1, CURVE, b"second"),
    ]
    assert minutes_of(*news).saved is None
    minutes = minutes_of(*news, PackSaved(1300, 5.0), Snapshot(1500, {0: b"c", 1: b"d"}))
    own = minutes.saved[("0.1", 7)]
    assert (own.snapshots, own.checkpoint, own.env_steps) == ([(1250, b"a")], b"first", 300)
    assert (own.curve, own.seconds) == (CURVE, 5.0 / 2)


def test_who_failed_early_or_fell_knows_what_stepped_and_computed_it_all_the_same():
    news = [Begun("numpy", "kernel"), MemberFailed(0, 1100, "NaN"), MemberSaved(1, CURVE, b"state")]
    minutes = minutes_of(*news, PackSaved(1300, 5.0))
    for members in (minutes.trained, minutes.saved.values()):
        assert [(one.adapter, one.backend) for one in members] == [("numpy", "kernel")] * 2


def test_a_member_that_had_failed_is_remembered_with_its_reason_when_the_others_are_saved():
    failed, saved = MemberFailed(0, 1100, "NaN"), MemberSaved(1, CURVE, b"second")
    members = minutes_of(failed, saved, PackSaved(1300, 5.0)).saved
    assert (members[("0.1", 7)].failure, members[("native", 7)].failure) == ("NaN", None)


def test_a_pack_that_says_to_be_saved_without_its_members_is_not_believed():
    with pytest.raises(BadFrame, match="member 1"):
        minutes_of(MemberSaved(0, CURVE, b""), PackSaved(1300, 5.0))


def test_a_run_that_was_cut_off_has_one_curve_and_all_its_snapshots():
    begun = [
        Trained(snapshots=[(1250, b"a")], curve=Curve((100, 200), {"r": (1.0, 2.0)}), seconds=3.0)
        for _ in range(2)
    ]
    rest = Curve((300,), {"r": (3.0,), "component.new": (9.0,)})
    news = [Snapshot(1500, {0: b"b"}), MemberDone(0, 2000, rest, b""), Done(4.0)]
    own = minutes_of(*news, begun=begun).trained[0]
    assert own.snapshots == [(1250, b"a"), (1500, b"b")]
    assert minutes_of(begun=begun).known_steps() == 1250
    assert own.curve == Curve(
        (100, 200, 300), {"r": (1.0, 2.0, 3.0), "component.new": (9.0, 9.0, 9.0)}
    )
    assert own.seconds == 3.0 + 4.0 / 2
    assert begun[0].snapshots == [(1250, b"a")]


def test_weights_that_are_known_from_an_earlier_child_are_not_asked_for_again():
    assert train_order(a_pack(), {}, known_steps=1500).checkpoint_at == (1750, 2000)


def test_a_count_is_requested_once_even_where_a_rung_is_shorter_than_its_checkpoints():
    order = train_order(a_pack(start_steps=10, stop_steps=12, checkpoints=4), {})
    assert order.checkpoint_at == (10, 11, 12)


# --- how long it may take -------------------------------------------------------------------------

LONG = Training(steps=500_000, envs=16)


def granted(settings=None, speed=180_000.0, **changes):
    """Seconds per step of a member, in a long training."""
    preflight = replace(a_pack().preflight, steps_per_second=speed)
    training = replace(LONG, settings=settings or {})
    order = a_pack(
        start_steps=0, stop_steps=500_000, preflight=preflight, training=training, **changes
    )
    return Supervision().limits(order).wall_seconds / (500_000 * len(order.members))


@pytest.mark.parametrize(
    ("settings", "measured"),
    [
        ({}, 20e-6),
        ({"hidden": [256, 256], "epochs": 10, "minibatch": 64}, 300e-6),
        ({"hidden": [1024, 1024], "minibatch": 16}, 6e-3),
        ({"minibatch": 2}, 1.3e-3),
        ({"rollout": 1, "minibatch": 2}, 1.3e-3),
    ],
    ids=["the defaults", "a wide network", "a huge one", "tiny steps", "tiny rollouts"],
)
def test_a_training_gets_several_times_what_its_learner_was_measured_to_need(settings, measured):
    assert granted(settings) > 5 * measured


def test_a_training_that_would_take_for_ever_is_still_ended():
    assert granted() < 2e-3
    assert granted(speed=1000.0) < 25e-3


def test_silence_is_noticed_within_minutes_unless_learning_takes_longer():
    quiet, busy = ({}, {"hidden": [1024, 1024], "epochs": 50, "rollout": 2048})
    preflight = replace(a_pack().preflight, steps_per_second=10_000.0)
    seconds = [
        Supervision().silence(a_pack(preflight=preflight, training=replace(LONG, settings=one)))
        for one in (quiet, busy)
    ]
    assert seconds[0] < 90
    assert seconds[1] > 5 * 2 * 16 * 2048 * 50 * 206e-6  # members, envs, rollout, epochs, measured


@pytest.mark.parametrize("algorithm", ["sac", "dqn"])
def test_labelling_what_a_rung_goes_on_with_is_granted_what_its_programs_may_take(algorithm):
    kind = {"kind": "box", "size": 2, "low": [-1.0, -1.0], "high": [1.0, 1.0]}
    actions = {"sac": kind, "dqn": {"kind": "discrete", "n": 2}}[algorithm]
    preflight = replace(a_pack().preflight, action=actions, steps_per_second=10_000.0)
    members = tuple(("native", seed) for seed in range(8))
    training = Training(steps=500_000, envs=4, algorithm=algorithm)
    little, much = (
        a_pack(
            members=members,
            preflight=preflight,
            training=replace(training, settings={"buffer": rows}),
            stop_steps=300_000,
            start_steps=200_000,
        )
        for rows in (1, 200_000)
    )
    supervision, one = Supervision(), 200_000 * 200e-6  # rows, seconds per row in one call
    assert supervision.silence(much) > 60 + one
    assert supervision.silence(little) < 90
    longer = supervision.limits(much).wall_seconds - supervision.limits(little).wall_seconds
    assert longer > 8 * one


def test_the_last_rollout_may_go_beyond_the_end():
    short = a_pack(stop_steps=1001)
    assert Supervision().limits(short).wall_seconds > 120 + 2 * 128 * 16 * 20


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
        ({"resume": {0: b"no checkpoint"}}, "TrainingFailed", "a checkpoint"),
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
