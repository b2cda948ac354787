"""What the tests of the off-policy learners share: packs, tiny environments, a network by hand."""

from __future__ import annotations

from typing import ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from safetensors.numpy import load

from core.envs import make_batch
from core.records.task import Task
from core.training.course import Span
from core.training.designs import Rewards
from core.training.members import Member
from core.training.off_policy_pack import new_off_policy_pack
from core.training.settings import read_settings
from tests.rim.training_parts import CART_POLE, PENDULUM, Heard

ALGORITHMS = ["sac", "dqn"]
TARGET = Task("target", "Target-v0", "")
CHAIN = Task("chain", "Chain-v0", "")
TASKS = {"sac": PENDULUM, "dqn": CART_POLE}
QUICK = {"hidden": [16, 16], "minibatch": 16, "learning_starts": 40, "train_every": 2}


def first_column(states, action, following):
    return {"first": following[:, 0], "effort": -0.1 * following[:, 1] ** 2}


def squares(states):
    return {"square": states[:, 0] ** 2, "product": states[:, 0] * states[:, 1]}


class Chain(gymnasium.Env):
    """Five places in a row; right pays 1 at the end, left pays 0.1 at the beginning and ends too."""

    observation_space = spaces.Box(0, 1, (5,))
    action_space = spaces.Discrete(2)
    metadata: ClassVar = {}

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self._place = int(self.np_random.integers(1, 4))
        return self._seen(), {}

    def step(self, action):
        self._place += 1 if action == 1 else -1
        reward = {0: 0.1, 4: 1.0}.get(self._place, 0.0)
        return self._seen(), reward, self._place in (0, 4), False, {}

    def _seen(self):
        return np.eye(5, dtype=np.float32)[self._place]


gymnasium.register("Chain-v0", entry_point=Chain, max_episode_steps=20)


def pack_of(algorithm, members, programs=None, task=None, envs=2, settings=None, **how):
    """A pack; members are seeds, (arm, seed) or (arm, seed, checkpoint)."""
    members = [("native", m) if isinstance(m, int) else m for m in members]
    programs = programs or {arm: None for arm, *_ in members}
    batch = make_batch(task or TASKS[algorithm], len(members) * envs)
    given = read_settings(QUICK if settings is None else settings, algorithm)
    heard, rejected = how.pop("heard", None) or Heard(), how.pop("rejected", {})
    rewards = Rewards(programs, rejected)
    return new_off_policy_pack([Member(*m) for m in members], rewards, batch, given, heard, **how)


def trained(algorithm, members, steps=200, **how):
    """A pack, trained."""
    pack = pack_of(algorithm, members, **how)
    pack.train(Span(steps, steps))
    return pack


def remembered(pack, member):
    """All that a member would go on from, by name."""
    return load(pack.checkpoints()[member])


def same(one, other):
    """Say which tensors of two checkpoints differ in any bit."""
    assert one.keys() == other.keys()
    return [name for name, value in one.items() if not np.array_equal(value, other[name])]


def by_hand(stack, row, x):
    """Run one network of a stack as its definition says."""
    layers = stack.row(stack.flat, row, stack.sizes[0])
    last = len(stack.sizes) - 2
    for i in range(last + 1):
        x = x @ layers[f"{i}.weight"].T + layers[f"{i}.bias"]
        x = torch.relu(x) if i < last else x
    return x
