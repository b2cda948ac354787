"""What the tests of the learner share: tiny environments, programs in plain Python, silence."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from safetensors.numpy import load

from core.envs import make_batch
from core.errors import ProgramRejected
from core.records.task import Field, Task
from core.training.action_space import read_action_space
from core.training.backends import choose_backend
from core.training.course import Span
from core.training.designs import Rewards
from core.training.kernel import available, why_absent
from core.training.members import Member
from core.training.networks import initial_parameters
from core.training.numpy_policy import stack_policies
from core.training.pack import new_pack
from core.training.ppo import new_stack
from core.training.settings import read_settings
from core.training.weights import put_parameters

CART_POLE = Task(
    "cart-pole",
    "CartPole-v1",
    "",
    fields=(
        Field("x", "obs[0]"),
        Field("v", "obs[1]"),
        Field("angle", "obs[2]"),
        Field("spin", "obs[3]"),
        Field("terminated", "terminated", visible=("reward",)),
    ),
)
PENDULUM = Task("pendulum", "Pendulum-v1", "")
QUICK = {"rollout": 32, "minibatch": 64, "epochs": 2, "hidden": [16, 16]}


class Target(gymnasium.Env):
    """Two states, +1 and -1; the right action is 0.5 times the state, ten steps per episode."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Box(-1, 1, (1,))

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self._draw()
        return self._state, {}

    def step(self, action):
        reward = -float((action[0] - 0.5 * self._state[0]) ** 2)
        self._draw()
        return self._state, reward, False, False, {}

    def _draw(self):
        self._state = np.array([self.np_random.choice([-1.0, 1.0])], np.float32)


gymnasium.register("Target-v0", entry_point=Target, max_episode_steps=10)


class Code:
    """A program without the machinery of generated code."""

    def __init__(self, reward=None, features=None):
        self._reward, self._features = reward, features
        self.feature_names = self.component_names = ()
        self.calls = 0

    def features(self, state_block):
        if self._features is None:
            return np.zeros((len(state_block), 0), np.float32)
        terms = self._features(state_block)
        self.feature_names = tuple(terms)
        return np.stack(list(terms.values()), axis=1).astype(np.float32)

    def components(self, state_block, action, next_block):
        self.calls += 1
        if self._reward is None:
            return np.zeros((0, len(state_block)), np.float32)
        terms = self._reward(state_block, action, next_block)
        self.component_names = tuple(terms)
        for values in terms.values():
            if not np.isfinite(values).all():
                raise ProgramRejected("NaN", expected="finite numbers", where="reward")
        return np.stack(list(terms.values())).astype(np.float32)


class Heard:
    """Remembers what a training told."""

    def __init__(self):
        self.steps, self.snapshots, self.failures = [], [], {}

    def progress(self, steps, seconds):
        self.steps.append(steps)

    def snapshot(self, steps, weights):
        self.snapshots.append((steps, weights))

    def failed(self, member, steps, reason):
        self.failures[member] = reason


BACKENDS = [
    "torch",
    pytest.param("kernel", marks=pytest.mark.skipif(not available(), reason=why_absent() or "-")),
]


def pack_of(
    members,
    programs=None,
    task=CART_POLE,
    envs=4,
    settings=None,
    heard=None,
    backend="auto",
    **how,
):
    """A pack; members are Members, (arm, seed) or (arm, seed, checkpoint)."""
    members = [m if isinstance(m, Member) else Member(*m) for m in members]
    programs = programs or {member.arm: None for member in members}
    batch = make_batch(task, len(members) * envs)
    settings = read_settings(QUICK if settings is None else settings)
    rewards, heard = Rewards(programs, **how), heard or Heard()
    return new_pack(members, rewards, batch, settings, heard, choose_backend(backend))


def trained(members, steps=1024, **how):
    """A pack, trained."""
    pack = pack_of(members, **how)
    pack.train(Span(steps, steps))
    return pack


def parameters(pack, member):
    """A member's parameters, by name, without padding."""
    return load(pack.checkpoints()[member])


def measured_return(task, weights, episodes=10, limit=500):
    """Mean native return of a policy that acts without chance."""
    batch = make_batch(task, episodes, autoreset=False)
    policies = stack_policies([load(weights)], read_action_space(batch.action))
    state, total = batch.reset(range(1000, 1000 + episodes)), np.zeros(episodes)
    for _ in range(limit):
        action = policies.act(state[None, :, : batch.layout.observation_size])[0]
        step = batch.step(action[:, 0].astype(np.int64) if policies.space.discrete else action)
        total += step.native
        state = step.state
    return float(total.mean())


def filled_stack(shapes, members=3):
    """A stack whose policies are far from indifferent."""
    stack = new_stack(shapes, members)
    for member in range(members):
        drawn = initial_parameters(shapes, np.random.default_rng(member), log_std=-0.3)
        drawn["policy.out.weight"] *= 50
        put_parameters(stack, member, shapes.inputs, drawn)
    return stack
