"""Load a downloaded reward file and look at what its components pay, single and vectorised.

python examples/use_reward.py .rewardsmith/reward.py
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np


def load(path: Path):
    """Import a reward file from wherever it lies."""
    spec = importlib.util.spec_from_file_location("reward", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["reward"] = module  # Gymnasium rebuilds wrapped environments by importing them
    spec.loader.exec_module(module)
    return module


def main(path: Path) -> None:
    reward = load(path)
    env = reward.make_env()
    env.reset(seed=0)
    _, paid, _, _, info = env.step(env.action_space.sample())
    print(f"one step paid {paid:+.3f}: {info['reward_components']}")
    many = reward.make_vec(8)
    many.reset(seed=0)
    rewards = [many.step(many.action_space.sample())[1] for _ in range(100)]
    print(
        f"800 random steps paid {np.mean(rewards):+.3f} each; observations {many.observation_space}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
