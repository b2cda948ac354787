"""The user's own learner: Stable-Baselines3 on our rows, measured by our scorer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from core.envs import make_batch
from core.errors import InvalidInput
from core.learners import Learner, read_learner
from core.ports import Arm
from core.records import NATIVE, Training
from core.sandbox import Sandbox
from core.tasks import find_task
from core.training.action_space import read_action_space
from core.training.course import Course, Span
from core.training.designs import Rewards
from core.training.laboratory import PRELOAD, Laboratory
from core.training.members import Member
from core.training.numpy_policy import read_weights, stack_policies
from core.training.runtime import load_program
from core.training.sb3_pack import Sb3Pack, acting_weights, new_model
from core.training.sb3_rows import vec_env
from core.training.weights import Progressed
from tests.rim.laboratory_parts import CART_POLE, MemoryArtifacts, an_order, program

pytest.importorskip("stable_baselines3")

GOOD = """
import numpy as np

def features(obs):
    return {"lean": obs.angle + 0.5 * obs.spin}

def reward(obs, action, next_obs, params):
    return {"upright": np.cos(next_obs.angle), "fall": -5.0 * next_obs.terminated}
"""
BREAKS = """
import numpy as np

def reward(obs, action, next_obs, params):
    return {"a": obs.x / (np.abs(obs.angle) < 0.05)}
"""


class Heard:
    def __init__(self):
        self.snapshots, self.failures = [], {}

    def progress(self, steps, seconds):
        assert steps >= 0

    def snapshot(self, steps, weights):
        self.snapshots.append((steps, weights))

    def failed(self, member, steps, reason):
        self.failures[member] = reason


def trained(task, arms, learner, steps=256):
    batch = make_batch(task, 4)
    programs = {k: None if p is None else load_program(p, batch.layout) for k, p in arms.items()}
    rewards, heard = Rewards(programs), Heard()
    course = Course([Member(arm, 0) for arm in arms], heard, Progressed(0, 0))
    pack = Sb3Pack(course, batch, [rewards.designs([arm]) for arm in arms], learner)
    pauses = []
    pack.train(Span(steps, steps, (steps,), lambda: pauses.append(1)))
    assert pauses
    batch.close()
    return pack, heard


@pytest.mark.parametrize(
    ("task", "algorithm", "settings"),
    [
        ("cartpole", "PPO", {"n_steps": 32}),
        ("cartpole", "A2C", {"activation": "relu", "net_arch": [16, 8]}),
        ("cartpole", "DQN", {"learning_starts": 50}),
        ("pendulum", "PPO", {"n_steps": 32}),
        ("pendulum", "SAC", {"learning_starts": 200, "net_arch": [16]}),
        ("pendulum", "TD3", {"learning_starts": 200, "net_arch": [16, 16]}),
    ],
)
def test_what_leaves_acts_as_their_model_does(task, algorithm, settings):
    found = find_task(task)
    batch = make_batch(found, 2)
    space = read_action_space(batch.action)
    rows = vec_env(batch, Rewards({NATIVE: None}).designs([NATIVE]), seed=3)
    model = new_model(Learner("sb3", algorithm, settings), rows, 3)
    model.learn(128)
    size = batch.layout.observation_size
    seen = np.random.default_rng(0).normal(0.0, 20.0, (500, size)).astype(np.float32)
    theirs, _ = model.predict(seen, deterministic=True)
    ours = stack_policies([read_weights(save(acting_weights(model, space)), size, space)], space)
    np.testing.assert_allclose(
        ours.act(seen[None])[0].reshape(theirs.shape), theirs, rtol=1e-3, atol=1e-3
    )


def test_members_are_trained_one_after_the_other_on_their_own_rewards():
    arms = {NATIVE: None, "0.0": program(GOOD)}
    pack, heard = trained(CART_POLE, arms, Learner("sb3", "PPO", {"n_steps": 32}))
    ((steps, weights),) = heard.snapshots
    assert (steps, set(weights)) == (256, {0, 1})
    space = read_action_space(pack.batch.action)
    inputs = [read_weights(weights[m], 4, space)["normaliser.mean"].size for m in (0, 1)]
    assert inputs == [4, 5]  # the second sees its feature
    native, designed = (pack.curve(m).series["training_reward"] for m in (0, 1))
    assert set(native) == {1.0}
    assert min(designed) < 1.0


def test_a_program_that_breaks_fails_its_own_run_alone():
    arms = {"0.0": program(BREAKS), NATIVE: None}
    pack, heard = trained(CART_POLE, arms, Learner("sb3", "PPO", {"n_steps": 32}))
    assert list(heard.failures) == [0]
    assert pack.living == [1]
    assert set(heard.snapshots[0][1]) == {1}


def test_the_same_seed_gives_the_same_policy():
    learner = Learner("sb3", "PPO", {"n_steps": 32})
    one, other = (trained(CART_POLE, {NATIVE: None}, learner)[1] for _ in range(2))
    assert one.snapshots == other.snapshots


def test_a_setting_that_their_class_does_not_take_is_refused():
    with pytest.raises(InvalidInput, match="n_stepz"):
        trained(CART_POLE, {NATIVE: None}, Learner("sb3", "PPO", {"n_stepz": 32}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"library": "rllib", "algorithm": "PPO"}, "one of sb3"),
        ({"library": "sb3", "algorithm": "PPOO"}, "one of PPO"),
        ({"library": "sb3", "algorithm": "PPO", "setings": {}}, "setings"),
        ({"library": "sb3", "algorithm": "PPO", "steps": 0}, "whole number"),
        ({"library": "sb3", "algorithm": "PPO", "settings": {"tensorboard_log": "/x"}}, "a number"),
        ({"library": "sb3", "algorithm": "PPO", "settings": {"net_arch": [0]}}, "widths"),
        ({"library": "sb3", "algorithm": "PPO", "settings": {"gamma": float("nan")}}, "a number"),
    ],
)
def test_a_learner_that_cannot_be_read_is_refused_with_what_would_do(given, words):
    with pytest.raises(InvalidInput, match=words):
        read_learner(given)


@pytest.mark.slow
def test_their_learner_trains_in_the_jail_and_its_policies_are_measured_like_ours():
    box = Sandbox(PRELOAD)
    laboratory = Laboratory(box, MemoryArtifacts())
    found = laboratory.preflight(CART_POLE, Training(), 0, lambda progress: None)
    order = an_order(
        CART_POLE,
        found,
        stage="transfer",
        arms={NATIVE: Arm(NATIVE)},
        members=((NATIVE, 0), (NATIVE, 1)),
        training=Training(steps=4096, envs=8),
        stop_steps=4096,
        record=False,
        learner={"library": "sb3", "algorithm": "PPO", "settings": {"n_steps": 64}},
    )
    native = laboratory.train(order, lambda progress: None).runs
    designed = replace(
        order, arms={"0.0": Arm("0.0", program(GOOD))}, members=(("0.0", 0), ("0.0", 1))
    )
    runs = (*native, *laboratory.train(designed, lambda progress: None).runs)
    box.close()
    assert [(run.arm, run.seed, run.status) for run in runs] == [
        (NATIVE, 0, "scored"),
        (NATIVE, 1, "scored"),
        ("0.0", 0, "scored"),
        ("0.0", 1, "scored"),
    ]
    assert {run.backend for run in runs} == {"sb3 PPO"}
    assert all(len(run.episodes) == len(order.held_out) for run in runs)
    assert max(run.fitness for run in native) > 40  # the random policy has about 22
