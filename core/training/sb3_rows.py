"""One member's rows as Stable-Baselines3 wants them.

The library is imported when it is used, in the child: not every zygote shall carry it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from core.envs import EnvBatch
from core.fields import Floats
from core.training.action_space import read_action_space
from core.training.designs import Designs
from core.training.replay import observe
from core.training.streams import environment_seeds

Stepped = tuple[Floats, Floats, npt.NDArray[np.bool_], list[dict[str, Any]]]


def vec_env(batch: EnvBatch, designs: Designs, seed: int) -> Any:
    """Return `Rows` as a vector environment of Stable-Baselines3."""
    from stable_baselines3.common.vec_env import VecEnv

    class VectorRows(Rows, VecEnv):
        """Takes everything from its two parents."""

    return VectorRows(batch, designs, seed)


def callback(rows: Any, tell: Callable[[int, float], bool]) -> Any:
    """Return what tells after every step how many there were and what the last was worth.

    The training ends where `tell` returns false.
    """
    from stable_baselines3.common.callbacks import BaseCallback

    class Told(BaseCallback):
        """Tells."""

        def _on_step(self) -> bool:
            return tell(self.num_timesteps, rows.earned)

    return Told()


class Rows:
    """A batch with the designed reward and features of one member.

    How many features there are is found out on the first states.  `earned` is what the last step was
    worth, the mean over rows.
    """

    def __init__(self, batch: EnvBatch, designs: Designs, seed: int) -> None:
        self._batch, self._designs = batch, designs
        self._size = batch.layout.observation_size
        self._starts = environment_seeds(seed, 0, batch.rows)
        self._discrete, acted = _action_space(batch)
        self._state: Floats = np.array(batch.reset(self._starts))
        self._action: npt.NDArray[Any] = np.zeros(0)
        self.earned = 0.0
        designs.learn_feature_counts(self._state[None])
        width = self._size + designs.most_features
        seen = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        super().__init__(batch.rows, seen, acted)  # type: ignore[call-arg]

    def reset(self) -> Floats:
        """Start all rows anew."""
        self._state = np.array(self._batch.reset(self._starts))
        return self._look(self._state)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the actions, as the environment receives them."""
        kind = np.int64 if self._discrete else np.float32
        self._action = np.asarray(actions, kind)

    def step_wait(self) -> Stepped:
        """Advance every row by one step."""
        step = self._batch.step(self._action)
        blocks = (self._state, self._action, step.next_block, step.native)
        earned = self._designs.earn(*(np.array(block)[None, None] for block in blocks))
        rewards, ended = earned.rewards[0, 0], step.terminated | step.truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self._batch.rows)]
        if ended.any():
            last = self._look(np.array(step.next_block))
            for row in np.flatnonzero(ended):
                cut = bool(step.truncated[row] and not step.terminated[row])
                infos[row] = {"terminal_observation": last[row], "TimeLimit.truncated": cut}
        self._state = np.array(step.state)
        self.earned = float(rewards.mean())
        return self._look(self._state), rewards, ended, infos

    def _look(self, states: Floats) -> Floats:
        seen: Floats = observe(self._designs, states[None], self._size)[0]
        return seen

    def close(self) -> None:
        """The batch belongs to whoever made it."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Rows have no attributes; asked for is the way of rendering, which there is none of."""
        return [None] * self._batch.rows

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Rows of a batch have no attributes."""
        raise NotImplementedError(attr_name)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Rows of a batch have no methods."""
        raise NotImplementedError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Nothing wraps a row."""
        return [False] * self._batch.rows


def _action_space(batch: EnvBatch) -> tuple[bool, gymnasium.Space[Any]]:
    space = read_action_space(batch.action)
    if space.discrete:
        return True, gymnasium.spaces.Discrete(space.size)
    return False, gymnasium.spaces.Box(space.low, space.high, dtype=np.float32)
