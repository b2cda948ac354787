"""A pair of functions in the style of LESR and its batched form are the same program."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.fields import lay_out
from core.program import read_program
from core.tasks import find_task
from core.training.runtime import load_program

EXAMPLES = Path(__file__).parents[2] / "examples"
PAIR = (EXAMPLES / "cartpole_pair.py").read_text(encoding="utf-8")
FIELDS = ("cart_position", "cart_velocity", "pole_angle", "pole_angular_velocity")
BRANCHING = PAIR.replace("np.minimum(updated_s[6], 5.0)", "min(updated_s[6], 5.0)")
NORM = PAIR.replace("s[1] ** 2 + s[3] ** 2", "np.linalg.norm(s)")
MIXING = PAIR.replace("s[1] ** 2 + s[3] ** 2", "s[1] ** 2 + np.max(s[3])")


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("lesr_pair", EXAMPLES / "lesr_pair.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def states():
    return np.random.default_rng(7).normal(size=(10_000, 4)).astype(np.float32) * [2, 3, 0.3, 3]


def test_on_ten_thousand_states_features_and_rewards_are_those_of_the_pair(example, states):
    task = find_task("cartpole")
    layout = lay_out(task.fields, 4)
    program = read_program(example.adapted(PAIR, FIELDS), task.fields, "add")
    loaded = load_program(program, layout, strict=True)
    states = states.astype(np.float32)
    following = np.zeros((len(states), layout.size), np.float32)
    following[:, :4] = np.roll(states, 1, axis=0)
    revised, _ = example.one_by_one(PAIR, states.astype(np.float64))
    _, paid = example.one_by_one(PAIR, following[:, :4].astype(np.float64))
    ours = loaded.reward(states, np.zeros(len(states), np.int64), following)["intrinsic"]
    np.testing.assert_allclose(loaded.features(states), revised[:, 4:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours, paid, rtol=1e-4, atol=1e-5)
    assert loaded.feature_names == ("extra_0", "extra_1", "extra_2", "extra_3")
    assert paid.std() > 0.1


def test_fields_that_are_vectors_are_taken_apart(example):
    assert example.columns("obs", ("x", "v[1]")) == "np.stack([obs.x, obs.v[:, 1]])"


def called(path):
    command = [sys.executable, str(EXAMPLES / "lesr_pair.py"), str(path), *FIELDS]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_prints_a_program_that_passes_the_rules():
    done = called(EXAMPLES / "cartpole_pair.py")
    assert "Equal on 10000 states" in done.stderr
    program = read_program(done.stdout, find_task("cartpole").fields, "add")
    assert (program.has_reward, program.has_features) == (True, True)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (BRANCHING, "cannot be called on columns"),
        (NORM, "cannot be called on columns"),
        (MIXING, "gives other numbers"),
    ],
    ids=["decides for one state", "one number for all", "mixes states"],
)
def test_a_pair_that_means_one_state_alone_is_refused(tmp_path, pair, words):
    assert pair != PAIR
    path = tmp_path / "pair.py"
    path.write_text(pair, encoding="utf-8")
    done = called(path)
    assert done.returncode != 0
    assert words in done.stderr
    assert not done.stdout
