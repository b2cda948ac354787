"""What the tests against Stable-Baselines3 share: its networks with our numbers, its dice loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from core.training.normalise import ReturnScaler, RunningMoments, normalised
from core.training.ppo import Stack

_LAYERS = {
    "policy.0": "mlp_extractor.policy_net.0",
    "policy.1": "mlp_extractor.policy_net.2",
    "policy.out": "action_net",
    "value.0": "mlp_extractor.value_net.0",
    "value.1": "mlp_extractor.value_net.2",
    "value.out": "value_net",
}


def sb3_name(name: str) -> str:
    """Return SB3's name of one of our parameters, for two hidden layers."""
    if name == "policy.log_std":
        return "log_std"
    layer, part = name.rsplit(".", 1)
    return f"{_LAYERS[layer]}.{part}"


def give_weights(stack: Stack, member: int, model: PPO) -> None:
    """Start SB3's policy from a member's parameters."""
    own = {sb3_name(name): view[member].clone() for name, view in stack.params.items()}
    model.policy.load_state_dict(own)


def farthest(stack: Stack, member: int, model: PPO) -> float:
    """Return the largest difference between a member's parameters and SB3's."""
    theirs = model.policy.state_dict()
    return max(
        float((view[member] - theirs[sb3_name(name)]).abs().max())
        for name, view in stack.params.items()
    )


def in_its_order(rows: np.ndarray, steps: int, envs: int) -> np.ndarray:
    """Turn our row numbers t·N + n into SB3's n·T + t."""
    return (rows % envs) * steps + rows // envs


@contextmanager
def permutations(dealt: Iterator[np.ndarray]) -> Iterator[None]:
    """Have SB3's rollout buffer shuffle as told."""
    original = np.random.permutation
    np.random.permutation = lambda size: next(dealt)
    try:
        yield
    finally:
        np.random.permutation = original


def load_dice(model: PPO, noise: Callable[[], np.ndarray]) -> None:
    """Have SB3's policy draw its actions with the noise [N, A] that `noise()` gives at each step."""
    dist = model.policy.action_dist

    def draw() -> torch.Tensor:
        drawn = torch.from_numpy(noise())
        if hasattr(dist.distribution, "logits"):
            return (dist.distribution.logits + drawn).argmax(-1)
        return dist.distribution.mean + dist.distribution.stddev * drawn

    dist.sample = draw


class SkipsFirst(PPO):
    """PPO that learns nothing from its first rollout."""

    skip = True

    def train(self) -> None:
        if self.skip:
            self.skip = False
            return
        super().train()


class OurOrder(VecEnvWrapper):
    """Normalises in our order: statistics stand still during a rollout and take it in afterwards.

    Rewards are withheld (0) until the rollout is over; `Settle` then scales them and gives them out.
    """

    def __init__(self, venv: VecEnv, gamma: float) -> None:
        super().__init__(venv)
        self.observed = RunningMoments(1, venv.observation_space.shape[0])
        self.returns = ReturnScaler(1, venv.num_envs, gamma)
        self.seen: list[np.ndarray] = []
        self.rewards: list[np.ndarray] = []
        self.ended: list[np.ndarray] = []

    def reset(self) -> np.ndarray:
        return self._look(self.venv.reset())

    def step_wait(self):
        seen, rewards, ended, infos = self.venv.step_wait()
        self.rewards.append(rewards)
        self.ended.append(ended)
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self.normalise(info["terminal_observation"])
        return self._look(seen), np.zeros_like(rewards), ended, infos

    def normalise(self, seen: np.ndarray) -> np.ndarray:
        mean, scale = (x.astype(np.float32) for x in (self.observed.mean, self.observed.scale()))
        return normalised(np.atleast_2d(seen), mean, scale).reshape(seen.shape)

    def _look(self, seen: np.ndarray) -> np.ndarray:
        self.seen.append(seen)
        return self.normalise(seen)

    def take_in(self) -> np.ndarray:
        """Close the rollout: return its scaled rewards [T, N] and renew the statistics."""
        rewards, ended = np.stack(self.rewards)[:, None], np.stack(self.ended)[:, None]
        scaled = self.returns.scale(rewards, ended)[:, 0]
        rows = np.stack(self.seen[:-1])
        self.observed.add(rows.reshape(1, -1, rows.shape[-1]))
        self.seen, self.rewards, self.ended = self.seen[-1:], [], []
        return scaled


class Settle(BaseCallback):
    """Gives out the rewards that `OurOrder` withheld, before SB3 learns from the rollout."""

    def __init__(self, order: OurOrder) -> None:
        super().__init__()
        self._order = order

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer, last = self.model.rollout_buffer, self.locals["values"]
        buffer.rewards += self._order.take_in()
        buffer.compute_returns_and_advantage(last_values=last, dones=self.locals["dones"])
        self.model._last_obs = self._order.normalise(self._order.seen[-1])
