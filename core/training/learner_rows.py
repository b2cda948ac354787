"""One member's rows with the designed reward and features, for a learner that is not ours.

What such a learner lives is what the downloaded wrapper would give it, step for step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt

from core.envs import EnvBatch
from core.fields import Floats
from core.training.action_space import read_action_space
from core.training.designs import Designs
from core.training.replay import observe
from core.training.streams import environment_seeds

Live: TypeAlias = Callable[[int, float], bool]
"""Told the steps so far and what the last was worth; false: the training shall end."""


@dataclass(frozen=True, slots=True)
class Lived:
    """What a step gave.

    Attributes:
        seen:       [N, I] what the policy sees next; a row that ended is at its next start.
        rewards:    [N] designed.
        terminated: bool [N]
        truncated:  bool [N]
        last:       [N, I] what the policy saw at the end of the step, before a row began anew.
    """

    seen: Floats
    rewards: Floats
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    last: Floats


class Rows:
    """A batch with the designed reward and features of one member.

    How many features there are is found out on the first states.

    Attributes:
        count:  N, rows.
        space:  of what the policy sees.
        acts:   space of one row's action, in the environment's own units.
        steps:  environment steps so far, of all rows together.
        earned: what the last step was worth, the mean over rows.
    """

    def __init__(self, batch: EnvBatch, designs: Designs, seed: int) -> None:
        self._batch, self._designs = batch, designs
        self._size = batch.layout.observation_size
        self._starts = environment_seeds(seed, 0, batch.rows)
        self._state: Floats = np.array(batch.reset(self._starts))
        designs.learn_feature_counts(self._state[None])
        self.count = batch.rows
        width = self._size + designs.most_features
        self.space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        self.acts = _action_space(batch)
        self.steps, self.earned = 0, 0.0

    def reset(self) -> Floats:
        """Start all rows anew; return what the policy sees [N, I]."""
        self._state = np.array(self._batch.reset(self._starts))
        return self._look(self._state)

    def step(self, action: npt.NDArray[Any]) -> Lived:
        """Advance every row by one step with actions [N] or [N, A]."""
        action = np.asarray(action, self.acts.dtype)
        step = self._batch.step(action)
        blocks = (self._state, action, step.next_block, step.native)
        earned = self._designs.earn(*(np.array(block)[None, None] for block in blocks))
        rewards, ends = earned.rewards[0, 0], (np.array(step.terminated), np.array(step.truncated))
        ended = bool(np.any(ends))
        last = self._look(np.array(step.next_block)) if ended else None
        self._state = np.array(step.state)
        self.steps += self.count
        self.earned = float(rewards.mean())
        seen = self._look(self._state)
        return Lived(seen, rewards, *ends, seen if last is None else last)

    def _look(self, states: Floats) -> Floats:
        seen: Floats = observe(self._designs, states[None], self._size)[0]
        return seen


def _action_space(batch: EnvBatch) -> gymnasium.Space[Any]:
    space = read_action_space(batch.action)
    if space.discrete:
        return gymnasium.spaces.Discrete(space.size)
    return gymnasium.spaces.Box(space.low, space.high, dtype=np.float32)
