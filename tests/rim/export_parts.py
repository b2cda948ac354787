"""Folders such as users take home, and a process that sees nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import safetensors.numpy

from core.export import render_reward_file
from core.records.task import Task
from tests.rim.test_export import a_program, provenance


def written(folder: Path, task: Task, source: str) -> Path:
    """Write the reward file of a task into a folder and return the folder."""
    text = render_reward_file(task, a_program(source), "replace", 0.02, provenance())
    (folder / "reward.py").write_text(text)
    return folder


def alone(folder: Path, *arguments: str) -> str:
    """Run something in a folder that cannot see this repository; return what it printed."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=folder,
        env={**own, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def a_policy(folder: Path, inputs: int, actions: int, most_steps: int = 50) -> None:
    """Write a policy with weights of chance into a folder, and the player and its kin beside it."""
    chance = np.random.default_rng(7)
    sizes = {"policy.0": (16, inputs), "policy.out": (actions, 16)}
    tensors = {
        "normaliser.mean": np.zeros(inputs, np.float32),
        "normaliser.scale": np.ones(inputs, np.float32),
    }
    for name, size in sizes.items():
        tensors[f"{name}.weight"] = chance.normal(size=size).astype(np.float32) / 4
        tensors[f"{name}.bias"] = chance.normal(size=size[0]).astype(np.float32) / 4
    card = {
        "layers": [{"name": name, "units": size[0]} for name, size in sizes.items()],
        "activation": "tanh",
        "squashed": False,
        "action": {"kind": "box", "low": [-1.0] * actions, "high": [1.0] * actions},
        "most_steps": most_steps,
        "fitness_fields": {},
    }
    safetensors.numpy.save_file(tensors, folder / "policy.safetensors")
    (folder / "policy.json").write_text(json.dumps(card))
    (folder / "design.json").write_text(json.dumps({"task": {"fitness": {"kind": "return"}}}))
    for name in ("play.py", "to_sb3.py"):
        (folder / name).write_text(files("core.export").joinpath(name).read_text())
