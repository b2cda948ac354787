"""Stable-Baselines3's side: its own algorithms on our batches of environments, or on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from bench.trainer.setups import Setup
from bench.trainer.watching import Choose, Outcome, Watched
from core.envs import EnvBatch, make_batch
from core.training.streams import environment_seeds


class BatchVecEnv(VecEnv):
    """Our batch as SB3 wants its environments: flat observations, resets within the step.

    `infos` carry what SB3 reads: `terminal_observation` where an episode ended, and
    `TimeLimit.truncated`, which is false where the episode also terminated.
    """

    def __init__(self, batch: EnvBatch, seeds: Sequence[int]) -> None:
        self.batch = batch
        self.seeds = list(seeds)
        self._size = batch.layout.observation_size
        self._given = np.zeros(0)
        seen = spaces.Box(-np.inf, np.inf, (self._size,), np.float32)
        super().__init__(batch.rows, seen, action_space(batch.action))

    def reset(self) -> np.ndarray:
        return self.batch.reset(self.seeds)[:, : self._size]

    def step_async(self, actions: np.ndarray) -> None:
        discrete = isinstance(self.action_space, spaces.Discrete)
        self._given = actions.astype(np.int64 if discrete else np.float32)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        step = self.batch.step(self._given)
        ended = step.terminated | step.truncated
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        for row in np.flatnonzero(ended).tolist():
            infos[row] = {
                "terminal_observation": step.next_block[row, : self._size].copy(),
                "TimeLimit.truncated": bool(step.truncated[row] and not step.terminated[row]),
            }
        seen = step.state[:, : self._size].copy()
        return seen, np.array(step.native, np.float32), ended, infos

    def close(self) -> None:
        self.batch.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name == "render_mode":
            return [None] * self.num_envs
        return [getattr(self.batch, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(f"rows of a batch have no attribute {attr_name!r} of their own")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        raise AttributeError(f"rows of a batch have no method {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


def action_space(action: Any) -> spaces.Space:
    """Return the space of a batch's actions; choices count from 0."""
    if action["kind"] == "discrete":
        return spaces.Discrete(int(action["n"]))
    low, high = (np.asarray(action[side], np.float32) for side in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)


def make_model(setup: Setup, env: VecEnv, seed: int) -> BaseAlgorithm:
    """Return SB3's learner with a setup's settings, on the CPU."""
    common = {
        "gamma": setup.gamma,
        "learning_rate": setup.learning_rate,
        "device": "cpu",
        "seed": seed,
    }
    if setup.learner == "sac":
        return SAC(
            "MlpPolicy",
            env,
            batch_size=setup.batch,
            learning_starts=setup.starts,
            policy_kwargs={"net_arch": list(setup.hidden)},
            **common,
        )
    return PPO(
        "MlpPolicy",
        env,
        n_steps=setup.rollout,
        batch_size=setup.minibatch,
        n_epochs=setup.epochs,
        gae_lambda=setup.gae_lambda,
        ent_coef=setup.entropy,
        policy_kwargs={"net_arch": list(setup.hidden)},
        **common,
    )


def train(setup: Setup, seed: int) -> Outcome:
    """Train one run on the batch of environments that our side uses; it has the same seeds."""
    watched = Watched(make_batch(setup.task, setup.envs))
    env: VecEnv = BatchVecEnv(watched, environment_seeds(seed, 0, setup.envs))
    if setup.normalise:
        env = VecNormalize(env, gamma=setup.gamma)
    model = make_model(setup, env, seed)
    model.learn(setup.steps)
    env.close()
    return watched.of(range(setup.envs)), chooser(model, env)


def chooser(model: BaseAlgorithm, env: VecEnv) -> Choose:
    """Return the trained policy without chance, on observations as the environment gives them."""

    def choose(seen: np.ndarray) -> np.ndarray:
        seen = env.normalize_obs(seen) if isinstance(env, VecNormalize) else seen
        return model.predict(seen, deterministic=True)[0]

    return choose


def train_natively(setup: Setup, seed: int) -> None:
    """Train one run as an SB3 user would: gymnasium's environments in a DummyVecEnv."""
    env = DummyVecEnv([lambda: gymnasium.make(setup.environment)] * setup.envs)
    env.seed(seed)
    make_model(setup, env, seed).learn(setup.steps)
    env.close()
