"""The user's own learner, of Stable-Baselines3 or a function of theirs: on our rows, by our scorer."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from torch import nn

from core.envs import make_batch
from core.errors import InvalidInput
from core.learners import Learner, read_learner
from core.ports import Arm
from core.records.kinds import NATIVE
from core.records.spec import Training
from core.sandbox import Sandbox
from core.seeding import MOST_SEED
from core.tasks import find_task
from core.training.acting import acting_weights
from core.training.action_space import read_action_space
from core.training.course import Course, Span
from core.training.designs import Rewards
from core.training.laboratory import PRELOAD, Laboratory
from core.training.learner_pack import LearnerPack
from core.training.learner_rows import Rows
from core.training.learner_search import find_learner
from core.training.members import Member
from core.training.numpy_policy import read_weights, stack_policies
from core.training.runtime import load_program
from core.training.sb3_learner import acting_network, new_model
from core.training.sb3_rows import vec_env
from core.training.script_learner import read_network
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


def trained(task, arms, learner, steps=256, seed=0):
    batch = make_batch(task, 4)
    programs = {k: None if p is None else load_program(p, batch.layout) for k, p in arms.items()}
    rewards, heard = Rewards(programs), Heard()
    course = Course([Member(arm, seed) for arm in arms], heard, Progressed(0, 0))
    pack = LearnerPack(course, batch, [rewards.designs([arm]) for arm in arms], learner)
    pauses = []
    pack.train(Span(steps, steps, (steps,), lambda: pauses.append(1)))
    assert pauses or heard.failures
    batch.close()
    return pack, heard


def a_transfer(found, learner, steps):
    """Order the native reward to be trained by a learner of the user's."""
    return an_order(
        CART_POLE,
        found,
        stage="transfer",
        arms={NATIVE: Arm(NATIVE)},
        members=((NATIVE, 0), (NATIVE, 1)),
        training=Training(steps=steps, envs=8),
        stop_steps=steps,
        record=False,
        learner=learner,
    )


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
    rows = vec_env(Rows(batch, Rewards({NATIVE: None}).designs([NATIVE]), seed=3))
    model = new_model(Learner("sb3", algorithm, settings), rows, 3)
    model.learn(128)
    size = batch.layout.observation_size
    seen = np.random.default_rng(0).normal(0.0, 20.0, (500, size)).astype(np.float32)
    theirs, _ = model.predict(seen, deterministic=True)
    ours = stack_policies(
        [read_weights(save(acting_weights(acting_network(model), space)), size, space)], space
    )
    np.testing.assert_allclose(
        ours.act(seen[None])[0].reshape(theirs.shape), theirs, rtol=1e-3, atol=1e-3
    )


def test_a_rollout_that_is_far_longer_than_the_training_is_told_in_few_points():
    learner = Learner("sb3", "PPO", {})  # it lives 2,048 steps of four rows, and then stops
    pack, heard = trained(CART_POLE, {NATIVE: None}, learner, steps=4)
    assert not heard.failures
    lived = pack.curve(0).steps
    assert (lived[:2], lived[-1] > 7_000) == ((4, 8), True)
    assert len(lived) < 200


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


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_a_seed_may_be_as_large_as_any_job_has(algorithm):
    learner = Learner("sb3", algorithm, {})
    first, second = (
        trained(CART_POLE, {NATIVE: None}, learner, seed=1_000 * MOST_SEED + n)[1]
        for n in (500, 501)
    )
    assert not first.failures
    assert first.snapshots != second.snapshots


def test_a_setting_that_their_class_does_not_take_is_refused():
    with pytest.raises(InvalidInput, match="n_stepz"):
        trained(CART_POLE, {NATIVE: None}, Learner("sb3", "PPO", {"n_stepz": 32}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"library": "rllib", "algorithm": "PPO"}, "one of sb3, script"),
        ({"library": "script", "algorithm": "train"}, "module:function"),
        ({"library": "script", "algorithm": "../x:train"}, "module:function"),
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


def test_a_library_that_is_not_installed_is_said_to_be_missing_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr("core.learners.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="pip install stable-baselines3"):
        find_learner(Sandbox(()), Learner("sb3", "PPO"), lambda progress: None)


# --- a function of the user's ---------------------------------------------------------------------

SCRIPT = """
import numpy as np
import torch
from torch import nn

SEEN = []

def train(envs, steps, seed, width=8, more=0):
    SEEN.append(envs)
    policy = nn.Sequential(nn.Linear(envs.single_observation_space.shape[0], width), nn.Tanh(),
                           nn.Linear(width, envs.single_action_space.n))
    seen, _ = envs.reset(seed=seed)
    for _ in range(steps // envs.num_envs + more):
        with torch.no_grad():
            action = policy(torch.as_tensor(seen)).argmax(-1).numpy()
        seen, rewards, terminated, truncated, infos = envs.step(action)
        for row in np.flatnonzero(terminated):
            assert abs(infos["final_obs"][row][2]) > 0.2 > abs(seen[row][2])
    return policy

def seeds(envs, steps, seed):
    np.random.seed(seed)  # as everybody does
    return train(envs, steps, seed)

def forgets(envs, steps, seed):
    return lambda seen: 0

def breaks(envs, steps, seed):
    raise RuntimeError("no such luck")

LIST = []
"""


@pytest.fixture
def my_learner(tmp_path, monkeypatch):
    """The name of a module of the user's, in a folder that the worker knows."""
    (tmp_path / "my_learner.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_learner"
    sys.modules.pop("my_learner", None)


def test_a_function_of_the_user_s_lives_the_designed_reward_row_by_row(my_learner):
    arms = {NATIVE: None, "0.0": program(GOOD)}
    learner = Learner("script", f"{my_learner}:train", {"width": 16})
    pack, heard = trained(CART_POLE, arms, learner)
    ((steps, weights),) = heard.snapshots
    assert (steps, set(weights)) == (256, {0, 1})
    space = read_action_space(pack.batch.action)
    read = [read_weights(weights[m], 4, space) for m in (0, 1)]
    assert [r["policy.0.weight"].shape for r in read] == [(16, 4), (16, 5)]
    native, designed = (pack.curve(m).series["training_reward"] for m in (0, 1))
    assert set(native) == {1.0}
    assert min(designed) < 1.0
    assert pack.computed_by == "script my_learner:train"


def test_a_function_has_the_seed_of_its_run(my_learner):
    learner = Learner("script", f"{my_learner}:train")
    one, other = (trained(CART_POLE, {NATIVE: None}, learner)[1] for _ in range(2))
    assert one.snapshots == other.snapshots


def test_a_function_gets_no_seed_that_numpy_would_refuse(my_learner):
    learner = Learner("script", f"{my_learner}:seeds")
    _, heard = trained(CART_POLE, {NATIVE: None}, learner, seed=1_000 * MOST_SEED + 999)
    assert heard.snapshots
    assert not heard.failures


@pytest.mark.parametrize(
    ("function", "settings", "words"),
    [
        ("breaks", {}, "breaks raised RuntimeError: no such luck"),
        ("train", {"more": 9}, "took more than its 256 steps"),
        ("train", {"depth": 3}, "unexpected keyword argument 'depth'"),
    ],
)
def test_a_function_that_fails_ends_its_run_with_its_own_words(
    my_learner, function, settings, words
):
    learner = Learner("script", f"{my_learner}:{function}", settings)
    _, heard = trained(CART_POLE, {NATIVE: None}, learner)
    assert words in heard.failures[0]


def test_a_program_that_breaks_under_a_function_is_said_to_be_the_cause(my_learner):
    learner = Learner("script", f"{my_learner}:train")
    _, heard = trained(CART_POLE, {"0.0": program(BREAKS)}, learner)
    assert "finite" in heard.failures[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_learner:nothing", "no attribute 'nothing'"),
        ("my_learner:LIST", "is no function"),
        ("nowhere:train", "No module named 'nowhere'"),
        ("my_learner:forgets", "returned function"),
    ],
)
def test_what_is_no_function_or_returns_no_network_is_refused(my_learner, name, words):
    with pytest.raises(InvalidInput, match=words):
        trained(CART_POLE, {NATIVE: None}, Learner("script", name))


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)],
        [nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)],
        [nn.Linear(4, 8), nn.Linear(8, 2)],
        [nn.Linear(4, 2, bias=False)],
        [nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)],
        [],
    ],
)
def test_a_network_that_could_not_be_carried_over_is_refused(layers):
    with pytest.raises(InvalidInput, match="linear layers with Tanh or ReLU"):
        read_network(nn.Sequential(*layers), "m:f")


def test_a_tanh_at_the_end_of_a_network_brings_it_into_the_bounds():
    layers = [nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1), nn.Tanh()]
    acting = read_network(nn.Sequential(*layers), "m:f")
    assert (acting.squashed, len(acting.layers)) == (True, 3)
    batch = make_batch(find_task("pendulum"), 1)
    space = read_action_space(batch.action)
    batch.close()
    seen = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    policies = stack_policies([read_weights(save(acting_weights(acting, space)), 3, space)], space)
    expected = 2.0 * nn.Sequential(*layers)(seen).detach().numpy()
    np.testing.assert_allclose(policies.act(seen.numpy()[None])[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow  # a sandbox of its own, and a training
def test_the_example_trains_in_the_jail_and_is_measured_by_our_scorer():
    box = Sandbox(PRELOAD, import_paths=[Path(__file__).parents[2] / "examples"])
    laboratory = Laboratory(box, MemoryArtifacts())
    learner = {"library": "script", "algorithm": "my_learner:train"}
    laboratory.require_learner(learner, lambda progress: None)
    with pytest.raises(InvalidInput, match="nothing_here"):
        laboratory.require_learner(
            {**learner, "algorithm": "my_learner:nothing_here"}, lambda progress: None
        )
    found = laboratory.preflight(CART_POLE, Training(), 0, lambda progress: None)
    order = a_transfer(found, learner, steps=20_000)
    runs = laboratory.train(order, lambda progress: None).runs
    box.close()
    assert [run.status for run in runs] == ["scored", "scored"]
    assert min(run.fitness for run in runs) > 60  # the random policy has about 22


@pytest.mark.slow
def test_their_learner_trains_in_the_jail_and_its_policies_are_measured_like_ours():
    box = Sandbox(PRELOAD)
    laboratory = Laboratory(box, MemoryArtifacts())
    found = laboratory.preflight(CART_POLE, Training(), 0, lambda progress: None)
    learner = {"library": "sb3", "algorithm": "PPO", "settings": {"n_steps": 64}}
    order = a_transfer(found, learner, steps=4096)
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
