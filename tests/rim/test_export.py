"""The downloaded file: it stands alone, says where it comes from, and survives unfriendly programs."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import tempfile
import warnings
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from core.export import Provenance, render_reward_file
from core.export.packages import requirements
from core.records.outcome import Interval
from core.records.programs import Program
from core.records.task import Field, Task

CARTPOLE = Task(
    "cartpole-park",
    "CartPole-v1",
    'Park the cart.\nQuotes """ and a backslash \\ are harmless.',
    fields=(
        Field("cart_position", "obs[0]"),
        Field("cart_velocity", "obs[1]"),
        Field("pole_angle", "obs[2]"),
        Field("fell", "terminated", visible=("reward",)),
        Field("secret", "obs[3]", visible=("metric",)),
    ),
)
PENDULUM = Task("pendulum", "Pendulum-v1", "Up.", fields=(Field("tip", "obs[0:2]", "m"),))
HOPPER = Task(
    "hopper",
    "Hopper-v5",
    "Stand.",
    fields=(
        Field("height", "obs[0]", "m"),
        Field("x", "sim.qpos[0]", "m", visible=("reward",)),
        Field("x_velocity", "info.x_velocity", "m/s", visible=("reward",)),
    ),
)
SIMPLE = """
import numpy as np

PARAMS = {"near": 2.0, "fall": 1.0}


def reward(obs, action, next_obs, params):
    return {
        "near": params.near * np.exp(-np.square(next_obs.cart_position - 1.0)),
        "fall": -params.fall * next_obs.fell,
        "push": 0.1 * (action == 1).astype(np.float32),
    }
"""
WITH_FEATURES = (
    SIMPLE
    + """

def features(obs):
    return {"energy": np.square(obs.cart_velocity) + np.square(obs.pole_angle)}
"""
)
FEATURES_ONLY = """
import numpy as np


def features(obs):
    return {"lean": np.abs(obs.pole_angle)}
"""
CLASHING = """
import numpy as np

WEIGHT = 3.0
MODE = 1.0


def main(x):
    return WEIGHT * MODE * x


def make_env(x, gym=2.0):
    return main(x) * gym


def reward(obs, action, next_obs, params):
    return {"tripled": make_env(np.cos(next_obs.pole_angle))}
"""


def a_program(source: str, **params: float) -> Program:
    digest = sha256(source.encode()).hexdigest()
    return Program(source, digest, "def reward" in source, "def features" in source, params)


def provenance(**changes) -> Provenance:
    facts = {
        "job_id": "job_1",
        "candidate": "0.1",
        "designer": "evolution",
        "model": None,
        "method": "smith",
        "designed": Interval(0.8, 0.7, 0.9, 5),
        "native": Interval(0.0, 0.0, 0.0, 5),
        "confirmed": True,
        "versions": {"rewardsmith": "0.1.0"},
    }
    return Provenance(**{**facts, **changes})


def load(tmp_path: Path, source: str, task: Task = CARTPOLE, mode="replace", **params):
    text = render_reward_file(task, a_program(source, **params), mode, 0.5, provenance())
    # A folder of its own: Python takes a file of the same size and second for the one it compiled.
    path = Path(tempfile.mkdtemp(dir=tmp_path)) / "reward.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("reward", path)
    module = importlib.util.module_from_spec(spec)
    # Gymnasium rebuilds a wrapped environment by importing its module, as a user's project can.
    sys.modules["reward"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _forget_the_module():
    yield
    sys.modules.pop("reward", None)


def steps(env, count=60, seed=3):
    env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(count):
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        yield obs, reward, terminated, info
        if terminated or truncated:
            env.reset()


def test_the_header_says_where_the_file_comes_from(tmp_path):
    text = render_reward_file(CARTPOLE, a_program(SIMPLE), "replace", 0.02, provenance())
    header = ast.get_docstring(ast.parse(text))
    for fact in ("job_1", "0.1", "0.8 [0.7, 0.9]", "5 fresh seeds", "evolution", "no model"):
        assert fact in header
    assert a_program(SIMPLE).sha256 in header


def test_one_training_is_no_interval():
    one = provenance(confirmed=False, designed=Interval(0.8, 0.8, 0.8, 1))
    header = ast.get_docstring(
        ast.parse(render_reward_file(CARTPOLE, a_program(SIMPLE), "replace", 0.02, one))
    )
    assert "0.8 (1 seed of the search, not confirmed; one training has no interval)" in header


def test_a_search_result_is_not_passed_off_as_confirmed():
    text = render_reward_file(
        CARTPOLE, a_program(SIMPLE), "replace", 0.02, provenance(confirmed=False, native=None)
    )
    assert "not confirmed" in ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize(
    "source", [SIMPLE, WITH_FEATURES, CLASHING], ids=["plain", "features", "clash"]
)
def test_there_is_no_trace_of_our_packages(source):
    text = render_reward_file(CARTPOLE, a_program(source), "replace", 0.02, provenance())
    roots = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        node.module.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom)
    }
    assert roots == {"__future__", "gymnasium", "importlib", "numpy"}


@pytest.mark.parametrize(
    ("source", "task"),
    [(SIMPLE, CARTPOLE), (WITH_FEATURES, CARTPOLE), (FEATURES_ONLY, CARTPOLE)],
    ids=["reward", "reward and features", "features only"],
)
def test_gymnasiums_checker_accepts_the_environment(tmp_path, source, task):
    env = load(tmp_path, source, task).make_env()
    with warnings.catch_warnings():
        # The checker prefers unwrapped environments; a reward can only be given by wrapping.
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
        # CartPole's own velocities are unbounded.
        warnings.filterwarnings("ignore", message=".*Box observation space m..imum value is.*")
        check_env(env, skip_render_check=True)


def test_the_environment_can_be_rebuilt_from_its_spec(tmp_path):
    module = load(tmp_path, SIMPLE)
    wrapped = module.DesignedReward(gym.make("CartPole-v1"), mode="add", weight=0.25)
    assert wrapped.spec.additional_wrappers[-1].kwargs == {"mode": "add", "weight": 0.25}


def test_the_reward_is_the_sum_of_its_components(tmp_path):
    for _, reward, terminated, info in steps(load(tmp_path, SIMPLE, near=2.0, fall=1.0).make_env()):
        parts = info["reward_components"]
        assert reward == pytest.approx(sum(parts.values()), abs=1e-6)
        assert parts["fall"] == -float(terminated)
        assert info["native_reward"] == 1.0


def test_add_mode_adds_the_weighted_design_to_the_native_reward(tmp_path):
    for _, reward, _, info in steps(
        load(tmp_path, SIMPLE, mode="add", near=2.0, fall=1.0).make_env()
    ):
        designed = sum(info["reward_components"].values())
        assert reward == pytest.approx(1.0 + 0.5 * designed, abs=1e-6)


def test_tuned_numbers_replace_those_in_the_source(tmp_path):
    first = next(steps(load(tmp_path, SIMPLE, near=1.0, fall=1.0).make_env()))
    tuned = next(steps(load(tmp_path, SIMPLE, near=3.0, fall=1.0).make_env()))
    ratio = tuned[3]["reward_components"]["near"] / first[3]["reward_components"]["near"]
    assert ratio == pytest.approx(3.0, rel=1e-6)


def test_features_follow_the_original_dimensions(tmp_path):
    env = load(tmp_path, WITH_FEATURES, near=1.0, fall=1.0).make_env()
    for obs, _, _, _ in steps(env, 5):
        assert obs.shape == env.observation_space.shape == (5,)
        assert obs[4] == pytest.approx(obs[1] ** 2 + obs[2] ** 2, rel=1e-5)


def test_a_reward_that_calls_features_reads_what_only_the_policy_sees(tmp_path):
    source = """
import numpy as np

def features(obs):
    return {"lean": np.abs(obs.hidden_angle)}

def reward(obs, action, next_obs, params):
    return {"straight": -features(next_obs)["lean"]}
"""
    hidden = replace(
        CARTPOLE, fields=(Field("hidden_angle", "obs[2]", visible=("policy",)), *CARTPOLE.fields)
    )
    for obs, reward, _, _ in steps(load(tmp_path, source, hidden).make_env(), 5):
        assert reward == pytest.approx(-abs(obs[2]), rel=1e-5)


def test_components_that_cancel_are_summed_with_care(tmp_path):
    source = """
import numpy as np

def reward(obs, action, next_obs, params):
    one = np.ones(len(action), np.float32)
    return {"up": 1000 * one, "small": 0.001 * one, "down": -1000 * one}
"""
    for _, reward, _, _ in steps(load(tmp_path, source).make_env(), 3):
        assert reward == pytest.approx(0.001, rel=1e-5)


def test_features_alone_leave_the_native_reward(tmp_path):
    env = load(tmp_path, FEATURES_ONLY).make_env()
    assert all(reward == 1.0 for _, reward, _, _ in steps(env, 10))


TAKING_OVER = {
    "a builtin": """
import numpy as np


def float(value):
    return -1.0 * value


def sum(values, key=-2.0):
    return values * key


def reward(obs, action, next_obs, params):
    upright = np.cos(next_obs.pole_angle)
    return {"upright": float(sum(upright, key=-1.0)) + 0.0 * np.clip(upright, min=0.0, max=1.0)}
""",
    "the library's short name": """
import numpy
import math as np


def reward(obs, action, next_obs, params):
    return {"upright": numpy.cos(next_obs.pole_angle) * np.cos(0.0)}
""",
    "a constant behind a line that only some count": """
import numpy as np

NOTE = "nothing"  # a form feed \x0c and a line separator \u2028 end no line
WEIGHT = -500.0
MODE, *ENV_KWARGS = 1.0, 2.0


def reward(obs, action, next_obs, params):
    return {"upright": np.cos(next_obs.pole_angle) * (WEIGHT / -500.0) * MODE}
""",
    "names in inner scopes": """
import numpy as np

WEIGHT = 1.0


def reward(obs, action, next_obs, params):
    def scaled(value, WEIGHT=2.0):
        return [f"{WEIGHT}" and value * WEIGHT for WEIGHT in (WEIGHT,)][0]

    return {"upright": scaled(np.cos(next_obs.pole_angle), WEIGHT=WEIGHT)}
""",
}


@pytest.mark.parametrize("mode", ["replace", "add"])
@pytest.mark.parametrize("what", TAKING_OVER)
def test_a_program_that_takes_over_a_name_pays_what_it_paid_in_training(tmp_path, what, mode):
    env = load(tmp_path, TAKING_OVER[what], mode=mode).make_env()
    for obs, reward, _, info in steps(env):
        designed = np.cos(np.float32(obs[2]))
        expected = designed if mode == "replace" else 1.0 + 0.5 * designed
        assert reward == pytest.approx(expected, abs=1e-5)
        assert info["native_reward"] == 1.0


def test_names_that_the_file_needs_are_renamed_in_the_program(tmp_path):
    env = load(tmp_path, CLASHING).make_env()
    obs, reward, _, _ = next(steps(env))
    assert reward == pytest.approx(6.0 * np.cos(obs[2]), rel=1e-5)


def test_vector_fields_and_box_actions_arrive_as_rows(tmp_path):
    source = """
import numpy as np

def reward(obs, action, next_obs, params):
    return {"up": next_obs.tip[:, 0], "effort": -np.square(action).sum(-1)}
"""
    for obs, reward, _, info in steps(load(tmp_path, source, PENDULUM).make_env(), 5):
        assert info["reward_components"]["up"] == pytest.approx(obs[0])
        assert reward <= 1.0


HOPPER_SOURCE = """
import numpy as np

def reward(obs, action, next_obs, params):
    return {"moved": next_obs.x - obs.x, "fast": next_obs.x_velocity, "high": next_obs.height}
"""


def test_simulator_and_info_fields_are_read_where_they_live(tmp_path):
    for _, _, _, info in steps(load(tmp_path, HOPPER_SOURCE, HOPPER).make_env(), 30):
        parts = info["reward_components"]
        assert parts["fast"] == pytest.approx(info["x_velocity"], rel=1e-5)
        assert parts["moved"] == pytest.approx(0.008 * info["x_velocity"], abs=1e-5)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(
    ("source", "task"), [(SIMPLE, CARTPOLE), (WITH_FEATURES, CARTPOLE), (HOPPER_SOURCE, HOPPER)]
)
def test_the_vector_twin_pays_what_the_single_wrapper_pays(tmp_path, mode, source, task):
    module = load(tmp_path, source, task, near=2.0, fall=1.0)
    makers = [lambda: gym.make(task.environment)] * 2
    base = SyncVectorEnv(makers, autoreset_mode=mode)
    if task is HOPPER and mode == AutoresetMode.SAME_STEP:
        with pytest.raises(ValueError, match="next-step autoreset"):
            module.DesignedVectorReward(base)
        return
    vector = module.DesignedVectorReward(base)
    singles = [module.make_env() for _ in range(2)]
    vector.reset(seed=[5, 6])
    for seed, env in zip((5, 6), singles, strict=True):
        env.reset(seed=seed)
    vector.action_space.seed(0)
    resetting, ended = np.zeros(2, bool), np.zeros(2, bool)
    for _ in range(120):
        actions = vector.action_space.sample()
        _, rewards, terminated, truncated, _ = vector.step(actions)
        for row, env in enumerate(singles):
            if ended[row]:
                continue  # the streams of later episodes differ by construction
            assert not resetting[row]
            _, reward, single_end, _, _ = env.step(actions[row])
            assert rewards[row] == pytest.approx(reward, rel=1e-5, abs=1e-5)
            assert single_end == terminated[row]
        if mode == AutoresetMode.NEXT_STEP:
            assert (rewards[resetting] == 0.0).all()
        resetting = terminated | truncated
        ended |= resetting
    assert ended.any()


def test_a_dictionary_that_somebody_flattened_first_is_refused_and_not_read_elsewhere(tmp_path):
    class Reach(gym.Env):
        observation_space = gym.spaces.Dict(
            {name: gym.spaces.Box(-9.0, 9.0, (1,)) for name in ("at", "goal")}
        )
        action_space = gym.spaces.Discrete(2)

    task = Task("reach", "Reach-v0", "Reach.", fields=(Field("goal", "obs.goal[0]"),))
    source = "def reward(obs, action, next_obs, params):\n    return {'far': -next_obs.goal}\n"
    module = load(tmp_path, source, task)
    flat = gym.wrappers.FlattenObservation(Reach())
    with pytest.raises(ValueError, match=r"\['goal'\].*first"):
        module.DesignedReward(flat)
    with pytest.raises(ValueError, match=r"\['goal'\].*first"):
        module.DesignedVectorReward(
            SyncVectorEnv([lambda: gym.wrappers.FlattenObservation(Reach())])
        )
    assert module.DesignedReward(Reach()).observation_space == Reach.observation_space


def test_dictionary_observations_are_read_by_key(tmp_path):
    module = load(
        tmp_path,
        """
import numpy as np

def reward(obs, action, next_obs, params):
    return {"near": -np.abs(next_obs.goal - next_obs.place)}
""",
        Task(
            "dict",
            "CartPole-v1",
            "d",
            fields=(Field("goal", "obs.desired[0]"), Field("place", "obs.achieved[1]")),
        ),
    )

    class Pair(gym.Env):
        observation_space = gym.spaces.Dict(
            desired=gym.spaces.Box(-9, 9, (1,)), achieved=gym.spaces.Box(-9, 9, (2,))
        )
        action_space = gym.spaces.Discrete(2)

        def _obs(self):
            return {
                "desired": np.array([3.0], np.float32),
                "achieved": np.array([0.0, 1.0], np.float32),
            }

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self._obs(), {}

        def step(self, action):
            return self._obs(), 0.0, False, False, {}

    env = module.DesignedReward(Pair())
    env.reset()
    assert env.step(0)[1] == -2.0


IN_NUMPY = """
import numpy as np

PARAMS = {"near": 2.0}


def features(obs):
    return {"energy": np.square(obs.cart_velocity) + np.square(obs.pole_angle)}


def reward(obs, action, next_obs, params):
    return {
        "near": params.near * np.exp(-np.square(next_obs.cart_position - 1.0)),
        "fell": -next_obs.fell,
        "push": 0.1 * (action == 1).astype(np.float32) - features(next_obs)["energy"],
    }
"""
PLAIN = """
def reward(obs, action, next_obs, params):
    pos = next_obs.cart_position
    return {{"near": -{}}}
"""
IN_TORCH = (
    IN_NUMPY.replace("import numpy as np", "import torch")
    .replace(".astype(np.float32)", ".double()")
    .replace("np.", "torch.")
)


def test_a_program_in_torch_pays_what_its_twin_in_numpy_pays(tmp_path):
    ours = load(tmp_path, IN_TORCH, replace(CARTPOLE, array="torch"), near=2.0)
    theirs = load(tmp_path, IN_NUMPY, near=2.0)
    for one, other in zip(steps(ours.make_env()), steps(theirs.make_env()), strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-6)
        assert one[1] == pytest.approx(other[1], abs=1e-6)
        assert one[3]["reward_components"] == pytest.approx(other[3]["reward_components"], abs=1e-6)
    paid = []
    for module in (ours, theirs):
        many = module.make_vec(3)
        many.reset(seed=1)
        paid.append(many.step(np.array([0, 1, 1])))
    for one, other in zip(paid[0][:2], paid[1][:2], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import torch as th\n" + PLAIN.format("th.abs(pos)"), id="under another name"),
        pytest.param(PLAIN.format("pos.abs()"), id="by methods alone"),
    ],
)
def test_a_program_in_torch_may_import_it_as_it_likes_or_not_at_all(tmp_path, source):
    module = load(tmp_path, source, replace(CARTPOLE, array="torch"))
    paid = [step[1] for step in steps(module.make_env())]
    assert paid == pytest.approx([-abs(step[0][0]) for step in steps(module.make_env())], abs=1e-6)


def test_a_program_in_torch_says_that_it_needs_torch():
    task = replace(CARTPOLE, array="torch")
    text = render_reward_file(task, a_program(IN_TORCH, near=2.0), "replace", 0.02, provenance())
    assert "Needs gymnasium, numpy and torch." in ast.get_docstring(ast.parse(text))
    assert requirements(task) == ("gymnasium>=1.4", "numpy>=2.0", "torch>=2.0")


@pytest.mark.slow
def test_the_file_runs_where_there_is_only_gymnasium_and_numpy(tmp_path, bare_python):
    text = render_reward_file(
        CARTPOLE, a_program(WITH_FEATURES, near=1.0, fall=1.0), "replace", 0.02, provenance()
    )
    path = tmp_path / "reward.py"
    path.write_text(text)
    shown = subprocess.run(
        [bare_python, str(path)], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    for name in ("near", "fall", "push", "designed reward", "native reward"):
        assert name in shown
    hidden = subprocess.run(
        [bare_python, "-c", "import torch"], capture_output=True, text=True, check=False
    )
    assert hidden.returncode != 0


@pytest.mark.slow
def test_the_example_shows_what_the_components_pay(tmp_path):
    path = tmp_path / "reward.py"
    program = a_program(WITH_FEATURES, near=1.0, fall=1.0)
    path.write_text(render_reward_file(CARTPOLE, program, "replace", 0.02, provenance()))
    example = Path(__file__).parents[2] / "examples" / "use_reward.py"
    done = subprocess.run(
        [sys.executable, example, path], capture_output=True, text=True, check=True
    )
    assert "near" in done.stdout
    assert "800 random steps" in done.stdout
