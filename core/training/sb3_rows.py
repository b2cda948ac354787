"""One member's rows as Stable-Baselines3 wants them.

The library is imported when it is used, in the child: not every zygote shall carry it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core.fields import Floats
from core.training.learner_rows import Live, Rows

Stepped = tuple[Floats, Floats, npt.NDArray[np.bool_], list[dict[str, Any]]]


def vec_env(rows: Rows) -> Any:
    """Return rows as a vector environment of Stable-Baselines3."""
    from stable_baselines3.common.vec_env import VecEnv

    class VectorRows(_Rows, VecEnv):
        """Takes everything from its two parents."""

    return VectorRows(rows)


def callback(rows: Rows, live: Live) -> Any:
    """Return what tells after every step how many there were and what the last was worth."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Told(BaseCallback):
        """Tells."""

        def _on_step(self) -> bool:
            return live(self.num_timesteps, rows.earned)

    return Told()


class _Rows:
    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._action: npt.NDArray[Any] = np.zeros(0)
        super().__init__(rows.count, rows.space, rows.acts)  # type: ignore[call-arg]

    def reset(self) -> Floats:
        """Start all rows anew."""
        return self.rows.reset()

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the actions, as the environment receives them."""
        self._action = actions

    def step_wait(self) -> Stepped:
        """Advance every row by one step."""
        lived = self.rows.step(self._action)
        ended = lived.terminated | lived.truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.rows.count)]
        for row in np.flatnonzero(ended):
            cut = bool(lived.truncated[row] and not lived.terminated[row])
            infos[row] = {"terminal_observation": lived.last[row], "TimeLimit.truncated": cut}
        return lived.seen, lived.rewards, ended, infos

    def close(self) -> None:
        """The batch belongs to whoever made it."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Rows have no attributes; asked for is the way of rendering, which there is none of."""
        return [None] * self.rows.count

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
        return [False] * self.rows.count
