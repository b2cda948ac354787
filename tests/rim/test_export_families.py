"""Downloads for environments with a package of their own: they run where there is nothing of ours."""

from __future__ import annotations

import ast
import doctest
from pathlib import Path

import pytest

from core import families
from core.export import render_reward_file
from core.export.packages import in_words, module_of_yours, requirements
from core.records.task import Task
from core.tasks import find_task
from tests.rim.export_parts import a_policy, alone, written
from tests.rim.test_export import a_program, provenance

NEAR = """
import numpy as np


def reward(obs, action, next_obs, params):
    return {"near": -np.linalg.norm(next_obs.achieved_goal - next_obs.desired_goal, axis=-1)}
"""
FAMILIES = [
    ("FetchReach-v4", "gymnasium_robotics:FetchReach-v4", "gymnasium-robotics>=1.4.2"),
    ("PointMaze_UMaze-v3", "gymnasium_robotics:PointMaze_UMaze-v3", "gymnasium-robotics>=1.4.2"),
    ("ALE/Pong-v5", "ale_py:ALE/Pong-v5", "ale-py"),
    ("MiniGrid-Empty-8x8-v0", "minigrid:MiniGrid-Empty-8x8-v0", "minigrid"),
    ("highway-v0", "highway_env:highway-v0", "highway-env"),
    ("Meta-World/MT1", "metaworld:Meta-World/MT1", "metaworld"),
    ("dm_control/hopper-hop-v0", "shimmy:dm_control/hopper-hop-v0", "shimmy[dm-control]"),
]


def constant(text: str, name: str) -> object:
    (found,) = (
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and node.targets[0].id == name
    )
    return ast.literal_eval(found)


@pytest.mark.parametrize(("environment", "made", "line"), FAMILIES)
def test_a_file_names_the_module_that_knows_its_environment(environment, made, line):
    task = Task("t", environment, "d")
    text = render_reward_file(task, a_program(NEAR), "replace", 0.02, provenance())
    assert constant(text, "ENVIRONMENT") == made
    assert line in requirements(task)
    assert f"Needs {in_words(task)}." in text
    assert module_of_yours(task) is None
    assert "# >>>" not in text
    assert ("_fit_robotics" in text) == made.startswith("gymnasium_robotics:")


def test_what_gymnasium_brings_and_what_is_of_somebody_s_own_keep_their_ids():
    for environment in ("CartPole-v1", "mine.envs:Fetch-v0", "gymnasium_robotics:FetchReach-v4"):
        task = Task("t", environment, "d")
        text = render_reward_file(task, a_program(NEAR), "replace", 0.02, provenance())
        assert constant(text, "ENVIRONMENT") == environment
    mine = Task("t", "mine.envs:Fetch-v0", "d")
    assert module_of_yours(mine) == "mine.envs"
    assert requirements(mine) == ("gymnasium>=1.4", "numpy>=2.0")
    assert requirements(Task("t", "Hopper-v5", "d")) == ("gymnasium[mujoco]>=1.4", "numpy>=2.0")
    assert in_words(Task("t", "CartPole-v1", "d")) == "gymnasium and numpy"


def test_a_task_s_words_are_no_marks():
    task = Task("t", "CartPole-v1", "Balance # >>> constants")
    text = render_reward_file(task, a_program(NEAR), "replace", 0.02, provenance())
    assert constant(text, "ENVIRONMENT") == "CartPole-v1"


def test_the_examples_in_docstrings_hold():
    assert doctest.testmod(families).failed == 0


# --- for real -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def robotics() -> None:
    why = 'needs gymnasium-robotics: pip install "rewardsmith[robotics]"'
    pytest.importorskip("gymnasium_robotics", reason=why)


@pytest.mark.slow
@pytest.mark.usefixtures("robotics")
@pytest.mark.parametrize("name", ["fetch-reach", "pointmaze-umaze"])
def test_the_file_runs_on_its_own(tmp_path, name):
    code = (
        "import sys, reward\n"
        "reward.main(5)\n"
        "reward._fit_robotics()\n"  # twice, as two files in one process do
        "many = reward.make_vec(2)\n"
        "many.reset(seed=0)\n"
        "print(many.step(many.action_space.sample())[1].shape, 'core' in sys.modules)\n"
    )
    shown = alone(written(tmp_path, find_task(name), NEAR), "-c", code)
    assert "near" in shown
    assert shown.endswith("(2,) False\n")


@pytest.mark.slow
@pytest.mark.usefixtures("robotics")
def test_a_policy_of_dictionary_observations_acts_alike_in_sb3(tmp_path):
    pytest.importorskip("stable_baselines3")
    a_policy(written(tmp_path, find_task("fetch-reach"), NEAR), inputs=16, actions=4)
    code = (
        "import to_sb3\n"
        "from play import Player\n"
        "from reward import make_env\n"
        "from stable_baselines3 import PPO\n"
        "to_sb3.main()\n"
        "env = to_sb3.flat(make_env())\n"
        "model, policy = PPO.load('model.zip', env=env, device='cpu'), Player().policy\n"
        "seen, _ = env.reset(seed=3)\n"
        "for _ in range(20):\n"
        "    action = model.predict(seen, deterministic=True)[0]\n"
        "    assert abs(action - policy.act(seen.astype('float32'))).max() < 1e-5\n"
        "    seen = env.step(action)[0]\n"
    )
    alone(tmp_path, "-c", code)


@pytest.mark.slow
@pytest.mark.usefixtures("robotics")
def test_the_example_trains_sb3_on_dictionary_observations(tmp_path):
    pytest.importorskip("stable_baselines3")
    example = Path(__file__).parents[2] / "examples" / "train_sb3.py"
    written(tmp_path, find_task("pointmaze-umaze"), NEAR)
    shown = alone(tmp_path, str(example), "reward.py", "--steps", "2048")
    assert "native reward an episode" in shown
