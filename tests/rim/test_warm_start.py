"""Off-policy learners through the laboratory: from preflight to a candidate that starts warm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load

from core.errors import InvalidInput
from core.ports import Arm
from core.records.kinds import NATIVE
from core.records.spec import Training
from core.sandbox.codec import Frame
from core.training.protocol import order_message, read_order, train_order
from core.training.settings import MOST_REPLAY_BYTES
from core.training.supervising import Supervision
from tests.rim.laboratory_parts import (
    CART_POLE,
    PENDULUM,
    an_order,
    ignore,
    program,
)

pytestmark = pytest.mark.slow  # a sandbox is started, and children are waited for

UPRIGHT = program(
    """
import numpy as np

def features(obs):
    return {"height": obs.cosine * 2}

def reward(obs, action, next_obs, params):
    return {"up": next_obs.cosine, "calm": -0.01 * np.square(action).sum(-1)}
"""
)
SETTINGS = {"hidden": [32, 32], "minibatch": 32, "learning_starts": 100, "learning_rate": 1e-3}
TRAINING = Training(algorithm="sac", steps=400, envs=2, settings=SETTINGS)


@pytest.fixture(scope="module")
def pendulum(laboratory):
    return laboratory.preflight(PENDULUM, TRAINING, 0, ignore)


def order_of(pendulum, arms, seeds=(0,), training=TRAINING, **changes):
    order = an_order(
        PENDULUM,
        pendulum,
        arms={key: Arm(key, one) for key, one in arms.items()},
        members=tuple((key, seed) for key in arms for seed in seeds),
        training=training,
        stop_steps=training.steps,
    )
    return replace(order, **changes)


@pytest.fixture(scope="module")
def baseline(laboratory, pendulum):
    return laboratory.train(order_of(pendulum, {NATIVE: None}, seeds=(0, 1)), ignore)


def lived(laboratory, run):
    return load(laboratory.artifacts.get(run.checkpoint))


def test_a_pack_of_sac_is_trained_measured_and_examined(baseline, laboratory):
    for run in baseline.runs:
        assert run.status == "scored"
        assert run.env_steps == 400
        assert {"critic", "temperature", "native_return"} <= set(run.curve.series)
        assert len(lived(laboratory, run)["replay.state"]) == 400
    assert baseline.reports[NATIVE].episode_length == 200


def test_a_candidate_starts_with_what_the_baseline_lived_relabelled(laboratory, pendulum, baseline):
    run = baseline.runs[0]
    cold = order_of(pendulum, {"0.0": UPRIGHT})
    warm = replace(cold, warm={("0.0", 0): (run.checkpoint,)})
    one, other = (laboratory.train(order, ignore).runs[0] for order in (cold, warm))
    assert (one.status, other.status) == ("scored", "scored")
    before, found = lived(laboratory, run), lived(laboratory, other)
    for name in ("state", "action", "next", "native", "terminated"):
        np.testing.assert_array_equal(found[f"replay.{name}"][:400], before[f"replay.{name}"])
    assert len(found["replay.state"]) == 800
    # It learns and acts from its first step; the cold one lives 100 transitions first.
    updates = [int(lived(laboratory, r)["actor.updates"][0]) for r in (one, other)]
    assert updates[1] == 400
    assert updates[0] == 300


def test_the_same_warm_start_gives_the_same_run(laboratory, pendulum, baseline):
    warm = {("0.0", 0): tuple(run.checkpoint for run in baseline.runs)}
    order = order_of(pendulum, {"0.0": UPRIGHT}, warm=warm)
    one, other = (laboratory.train(order, ignore).runs[0] for _ in range(2))
    assert one.checkpoint == other.checkpoint
    assert one.fitness == other.fitness


def test_the_next_rung_goes_on_with_networks_and_replay(laboratory, pendulum, baseline):
    order = order_of(
        pendulum,
        {NATIVE: None},
        training=replace(TRAINING, steps=600),
        rung=1,
        start_steps=400,
        resume={(NATIVE, 0): baseline.runs[0].checkpoint},
    )
    run = laboratory.train(order, ignore).runs[0]
    assert run.status == "scored"
    assert run.env_steps == 200
    assert len(lived(laboratory, run)["replay.state"]) == 600
    assert int(lived(laboratory, run)["actor.updates"][0]) == 500


def test_dqn_is_trained_on_choices(laboratory):
    settings = {"hidden": [16], "updates_per_step": 0.5}
    training = Training(algorithm="dqn", steps=600, envs=4, settings=settings)
    found = laboratory.preflight(CART_POLE, training, 0, ignore)
    order = an_order(CART_POLE, found, training=training, stop_steps=600)
    run = laboratory.train(order, ignore).runs[0]
    assert run.status == "scored"
    assert run.fitness > 0


@pytest.mark.parametrize(
    ("task", "training", "words"),
    [
        (CART_POLE, Training(algorithm="sac"), "Use dqn or ppo"),
        (PENDULUM, Training(algorithm="dqn"), "Use sac or ppo"),
        (PENDULUM, Training(warm_start=True), "keeps no replay"),
        (PENDULUM, Training(algorithm="sac", settings={"rollout": 8}), "settings of sac"),
        (PENDULUM, Training(algorithm="td4"), "one of ppo, sac, dqn"),
    ],
)
def test_what_does_not_fit_is_refused_by_preflight(laboratory, task, training, words):
    with pytest.raises(InvalidInput, match=words):
        laboratory.preflight(task, training, 0, ignore)


def test_an_order_carries_every_stored_checkpoint_once(pendulum):
    warm = {("0.0", 0): ("a", "b"), ("0.1", 0): ("a",)}
    pack = order_of(pendulum, {"0.0": UPRIGHT, "0.1": None}, warm=warm)
    order = train_order(pack, {("0.1", 0): b"own"}, stored={"a": b"A", "b": b"B"})
    header, blobs = order_message(order)
    assert sorted(blobs.values()) == [b"A", b"B", b"own"]
    found = read_order(Frame(header, blobs))
    assert found.warm == {0: ("a", "b"), 1: ("a",)}
    assert found.stored == {"a": b"A", "b": b"B"}
    assert found.resume == {1: b"own"}
    assert found.algorithm == "sac"


def test_limits_grow_with_the_replays_of_a_pack(pendulum):
    ppo = order_of(pendulum, {NATIVE: None}, training=Training(steps=400, envs=2))
    one = order_of(pendulum, {NATIVE: None}, seeds=range(2))
    many = order_of(pendulum, {NATIVE: None}, seeds=range(16))
    limits = [Supervision().limits(order) for order in (ppo, one, many)]
    assert limits[0].result_bytes == limits[1].result_bytes
    assert limits[2].result_bytes > 16 * MOST_REPLAY_BYTES
    assert limits[0].memory_bytes < limits[1].memory_bytes < limits[2].memory_bytes
