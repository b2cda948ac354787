"""The examples run as they stand.

Slow because each starts a server, trains, or both.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from core.export import render_reward_file
from tests.rim.test_export import CARTPOLE, a_program, provenance
from tests.shells.test_methods_over_http import serving as an_endpoint

ALIVE = """
def reward(obs, action, next_obs, params):
    return {"alive": 1.0 - next_obs.fell}
"""
EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith("REWARDSMITH_")}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        env={**own, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent), **environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_stable_baselines_learns_from_a_downloaded_reward(tmp_path):
    file = tmp_path / "reward.py"
    text = render_reward_file(CARTPOLE, a_program(ALIVE), "replace", 0.0, provenance())
    file.write_text(text, encoding="utf-8")
    done = run("train_sb3.py", file, "--steps", 8192, "--save", tmp_path / "policy.zip")
    assert done.returncode == 0, done.stderr
    before, after = (
        float(done.stdout.splitlines()[0].split(": ")[1].split()[place]) for place in (0, 3)
    )
    assert after > 2 * before
    assert (tmp_path / "policy.zip").is_file()


def test_choices_that_begin_elsewhere_are_counted_from_0_for_stable_baselines(monkeypatch):
    pytest.importorskip("stable_baselines3")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    chosen = []

    class Buttons(gym.Env):
        observation_space = gym.spaces.Box(0.0, 1.0, (1,))
        action_space = gym.spaces.Discrete(3, start=5)

        def step(self, action):
            chosen.append(int(action))
            return self.observation_space.sample(), 0.0, False, False, {}

    env = importlib.import_module("train_sb3").fitted(Buttons())
    assert env.action_space == gym.spaces.Discrete(3)
    for action in range(3):
        env.step(action)
    assert chosen == [5, 6, 7]


def test_an_episode_without_an_end_is_cut(monkeypatch):
    pytest.importorskip("stable_baselines3")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("train_sb3")
    monkeypatch.setattr(example, "MOST_STEPS", 7)

    class Endless:
        def reset(self, *, seed):
            return 0, {}

        def step(self, action):
            return 0, 0.5, False, False, {"native_reward": 1.0}

    assert example.returns(lambda _: 0, Endless()) == {"designed": 3.5, "native": 7.0}


def test_an_environment_of_ones_own_gets_a_reward(tmp_path):
    out = tmp_path / "corridor.py"
    done = run("custom_environment.py", "--home", tmp_path / "home", "--steps", 4000, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "native" in done.stdout
    assert out.is_file() == (f"saved as {out}" in done.stdout)


def test_a_model_on_ones_own_machine_writes_the_programs(tmp_path):
    with an_endpoint() as endpoint:
        url = f"http://127.0.0.1:{endpoint.server_port}/v1"
        small = ["--iterations", 1, "--candidates", 2, "--steps", 2000]
        out = ["--home", tmp_path / "home", "--out", tmp_path / "reward.py"]
        done = run("local_model.py", url, "recorded", *small, *out, NO_PROXY="*")
        assert done.returncode == 0, done.stderr
        assert sum(endpoint.asked.values()) >= 2
    assert "recorded: 300 tokens" in done.stdout


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    for name in [name for name in os.environ if name.startswith("REWARDSMITH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(EXAMPLES / "design.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("60_000", "4_000")  # the same, and sooner done
    NotebookClient(notebook, timeout=400, resources={"metadata": {"path": tmp_path}}).execute()
    shown = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert "best fitness" in shown
    assert "image/png" in shown
    assert "def reward" in shown
    assert (tmp_path / "reward.py").is_file()


def test_the_notebook_is_kept_without_what_it_showed():
    notebook = json.loads((EXAMPLES / "design.ipynb").read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") for cell in notebook["cells"])
