"""A training function of your own, with which a job confirms its design: REINFORCE in forty lines.

    REWARDSMITH_ENVIRONMENT_PATHS=examples rewardsmith serve
    and in the request: "evaluation": {"transfer": {
        "library": "script", "algorithm": "my_learner:train", "settings": {"lr": 0.01}}}

It runs in the worker's sandbox: no network, no files.  For actions that are choices.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def train(envs, steps, seed, lr=0.01, gamma=0.99, rollout=128):
    """Train on `envs`, a gymnasium vector environment, for `steps` steps of all its rows together.

    Returns the network that acts: here a score for every choice.
    """
    inputs, choices = envs.single_observation_space.shape[0], envs.single_action_space.n
    policy = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, choices))
    optimiser = torch.optim.Adam(policy.parameters(), lr)
    seen, _ = envs.reset(seed=seed)
    for _ in range(steps // (rollout * envs.num_envs)):
        log_probs, rewards, ended = [], [], []
        for _ in range(rollout):
            chances = torch.distributions.Categorical(logits=policy(torch.as_tensor(seen)))
            action = chances.sample()
            seen, reward, terminated, truncated, _ = envs.step(action.numpy())
            log_probs.append(chances.log_prob(action))
            rewards.append(reward)
            ended.append(terminated | truncated)
        returns = _returns(np.array(rewards), np.array(ended), gamma)
        advantages = torch.as_tensor((returns - returns.mean()) / (returns.std() + 1e-8)).float()
        loss = -(torch.stack(log_probs) * advantages).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return policy


def _returns(rewards, ended, gamma):
    """Return what was earned from every step on [T, N], up to the end of its episode."""
    returns, following = np.zeros_like(rewards), np.zeros(rewards.shape[1])
    for t in range(len(rewards) - 1, -1, -1):
        following = rewards[t] + gamma * following * ~ended[t]
        returns[t] = following
    return returns
