"""Train Stable-Baselines3 on a downloaded reward, and see how the environment itself would pay it.

    python examples/train_sb3.py .rewardsmith/reward.py --steps 50000

Needs stable-baselines3, and the downloaded file; nothing of ours.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from use_reward import load

EPISODES = 10
MOST_STEPS = 10_000  # of an episode: not every environment ends its own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reward", type=Path, help="the downloaded file")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="where to keep the trained policy")
    asked = parser.parse_args()

    env = fitted(load(asked.reward).make_env())
    env.action_space.seed(asked.seed)
    before = returns(lambda _: env.action_space.sample(), env)
    model = PPO("MlpPolicy", env, seed=asked.seed)
    model.learn(asked.steps)
    after = returns(lambda seen: model.predict(seen, deterministic=True)[0], env)
    for kind in ("designed", "native"):
        print(f"{kind} reward an episode: {before[kind]:.2f} at random, {after[kind]:.2f} trained")
    if asked.save:
        model.save(asked.save)


def fitted(env: gym.Env) -> gym.Env:
    """Return the environment as "MlpPolicy" takes it: one row of numbers, choices that count from 0."""
    if isinstance(env.observation_space, gym.spaces.Dict):
        env = gym.wrappers.FlattenObservation(env)
    acts = env.action_space
    if not isinstance(acts, gym.spaces.Discrete) or acts.start == 0:
        return env
    choices = gym.spaces.Discrete(acts.n)
    return gym.wrappers.TransformAction(env, lambda chosen: chosen + acts.start, choices)


def returns(act: Callable[[np.ndarray], object], env) -> dict[str, float]:
    """Return the mean designed and native return of some episodes in which `act` chooses."""
    sums = []
    for episode in range(EPISODES):
        seen, _ = env.reset(seed=1_000 + episode)
        designed = native = 0.0
        for _ in range(MOST_STEPS):
            seen, paid, terminated, truncated, info = env.step(act(seen))
            designed, native = designed + paid, native + info["native_reward"]
            if terminated or truncated:
                break
        sums.append((designed, native))
    designed, native = np.mean(sums, axis=0)
    return {"designed": float(designed), "native": float(native)}


if __name__ == "__main__":
    main()
