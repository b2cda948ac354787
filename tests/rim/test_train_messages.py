"""What travels between the training child and its parent, and how long either waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.records.kinds import FITNESS
from core.records.measured import Curve
from core.records.spec import Training
from core.records.task import Fitness
from core.sandbox.codec import BadFrame, Frame
from core.training.effort import member_bytes, weights_bytes
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
    news_message,
    order_message,
    read_order,
    train_order,
)
from core.training.supervising import Supervision
from tests.rim.train_child_parts import (
    CURVE,
    RICH,
    UPRIGHT,
    a_pack,
    an_order,
    carried_out,
    only,
)
from tests.rim.training_parts import CART_POLE

# --- what travels ---------------------------------------------------------------------------------


def test_an_order_arrives_as_it_was_sent():
    order = an_order({"native": None, "0.0": RICH}, resume={1: b"a checkpoint"})
    header, blobs = order_message(order)
    found = read_order(Frame(header, blobs))
    assert found == replace(order, task=replace(order.task, description=""))


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
        ({"kind": "done", "seconds": 1e300}, {}),
        ({"kind": "pack_saved", "steps": 1, "seconds": 1e300}, {}),
        ({"kind": "progress", "done": 1, "steps_per_second": 9e299}, {}),
        *(
            (
                {
                    "kind": "member_done",
                    "member": 0,
                    "env_steps": 1,
                    "steps": [1],
                    "series": {name: [1.0]},
                },
                {"checkpoint": b""},
            )
            for name in ("=cmd()", "+1", "a b", "component.", "", ".", "a/b", "x" * 81, "<b>")
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


def test_series_are_named_by_identifiers_with_points_between():
    names = ("native_return", "component.near", "component.größe")
    curve = replace(CURVE, series={name: (1.0,) * len(CURVE.steps) for name in names})
    header, blobs = news_message(MemberDone(0, 1024, curve, b""))
    assert read_news(Frame(header, blobs), 1).curve == curve


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
        ([Snapshot(1250, {0: bytes(MOST_BYTES + 1)})], "at most"),
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


@pytest.mark.parametrize(
    "kind", [lambda c: MemberSaved(0, CURVE, c), lambda c: MemberDone(0, 2000, CURVE, c)]
)
def test_a_checkpoint_larger_than_a_member_s_can_be_is_refused(kind):
    most = member_bytes(a_pack())
    minutes_of(kind(bytes(most)))
    with pytest.raises(BadFrame, match=f"at most {most}"):
        minutes_of(kind(bytes(most + 1)))


def test_weights_larger_than_a_policy_of_these_layers_are_refused():
    """Else a child could fill its parent's memory, a snapshot of every member at every count."""
    most = weights_bytes(a_pack())
    assert most < 2**20
    minutes_of(Snapshot(1250, {0: bytes(most)}))
    with pytest.raises(BadFrame, match=f"at most {most}"):
        minutes_of(Snapshot(1250, {0: bytes(most + 1)}))


def test_a_learner_of_one_s_own_may_leave_as_much_as_a_policy_may_have():
    own = a_pack(learner={"function": "mine:train"})
    assert member_bytes(own) == weights_bytes(own) == MOST_BYTES


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
