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


class OurOrder(VecEnvWrapper):
    """Normalises in our order: statistics stand still during a rollout and take it in afterwards.

    Rewards are withheld (0) until the rollout is over; `Settle` then scales them and gives them out.
    `finals` are the final observations of episodes that a time limit cut: (step, row) -> as they were.
    """

    def __init__(self, venv: VecEnv, gamma: float) -> None:
        super().__init__(venv)
        self.observed = RunningMoments(1, venv.observation_space.shape[0])
        self.returns = ReturnScaler(1, venv.num_envs, gamma)
        self.seen: list[np.ndarray] = []
        self.rewards: list[np.ndarray] = []
        self.ended: list[np.ndarray] = []
        self.finals: dict[tuple[int, int], np.ndarray] = {}

    def reset(self) -> np.ndarray:
        return self._look(self.venv.reset())

    def step_wait(self):
        seen, rewards, ended, infos = self.venv.step_wait()
        for row, info in enumerate(infos):
            if info["TimeLimit.truncated"]:
                self.finals[len(self.rewards), row] = info["terminal_observation"]
            if "terminal_observation" in info:
                info["terminal_observation"] = self.normalise(info["terminal_observation"])
        self.rewards.append(rewards)
        self.ended.append(ended)
        return self._look(seen), np.zeros_like(rewards), ended, infos

    def normalise(self, seen: np.ndarray) -> np.ndarray:
        mean, scale = (x.astype(np.float32) for x in (self.observed.mean, self.observed.scale()))
        return normalised(np.atleast_2d(seen), mean, scale).reshape(seen.shape)

    def scaled_rewards(self) -> np.ndarray:
        """Return the rollout's rewards [T, N], with what is known at its end."""
        rewards, ended = np.stack(self.rewards)[:, None], np.stack(self.ended)[:, None]
        return self.returns.scale(rewards, ended)[:, 0]

    def rows(self) -> np.ndarray:
        """Return the rollout's observations [T, N, D] as they were."""
        return np.stack(self.seen[:-1])

    def take_in(self) -> None:
        """Close the rollout."""
        self.observed.add(self.rows().reshape(1, -1, self.seen[0].shape[-1]))
        self.seen, self.rewards, self.ended, self.finals = self.seen[-1:], [], [], {}

    def _look(self, seen: np.ndarray) -> np.ndarray:
        self.seen.append(seen)
        return self.normalise(seen)


class Settle(BaseCallback):
    """Gives out the rewards that `OurOrder` withheld, before SB3 learns from the rollout.

    The first rollout was seen before anything was known; it is looked at again with its own statistics.
    """

    def __init__(self, order: OurOrder) -> None:
        super().__init__()
        self._order = order
        self._first = True

    def _on_step(self) -> bool:
        return True

    @torch.no_grad()
    def _on_rollout_end(self) -> None:
        order, buffer, last = self._order, self.model.rollout_buffer, self.locals["values"]
        rewards = order.scaled_rewards()
        if self._first:
            buffer.rewards[:], last = self._look_again(rewards)
        else:
            buffer.rewards += rewards
            order.take_in()
        buffer.compute_returns_and_advantage(last_values=last, dones=self.locals["dones"])
        self.model._last_obs = order.normalise(order.seen[-1])
        self._first = False

    def _look_again(self, rewards: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """Evaluate the rollout anew; return its rewards, time limits worked in, and the last values."""
        order, buffer, policy = self._order, self.model.rollout_buffer, self.model.policy
        rows, finals = order.rows(), order.finals
        order.take_in()
        buffer.observations[:] = order.normalise(rows.reshape(-1, rows.shape[-1])).reshape(
            rows.shape
        )
        for t, actions in enumerate(buffer.actions):
            acted = torch.from_numpy(actions)
            acted = acted[:, 0] if buffer.actions.dtype == np.int64 else acted
            values, log_probs, _ = policy.evaluate_actions(
                torch.from_numpy(buffer.observations[t]), acted
            )
            buffer.values[t], buffer.log_probs[t] = values[:, 0].numpy(), log_probs.numpy()
        for (t, row), final in finals.items():
            value = policy.predict_values(torch.from_numpy(order.normalise(final)[None]))
            rewards[t, row] += self.model.gamma * float(value)
        return rewards, policy.predict_values(torch.from_numpy(order.normalise(order.seen[-1])))
