"""Stepping one gymnasium object: what `env.step` does, without what costs time and changes nothing.

The object, its resets and its numbers stay gymnasium's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from gymnasium.wrappers import OrderEnforcing, TimeLimit

from core.envs.building import Env
from core.envs.lunar_lander import lander_step
from core.envs.point_maze import point_maze_step

Stepped: TypeAlias = tuple[Any, Any, Any, Any, dict[str, Any]]  # as gymnasium's step returns it
Step: TypeAlias = Callable[[Any], Stepped]


def stepper(env: Env) -> Step:
    """Return a function that gives what `env.step` would, the object being reset as usual.

    The two wrappers of `gymnasium.make` are seen through, where they and no others are there.  That
    an object was reset before its first step is then taken for granted.
    """
    if type(env) is TimeLimit and type(env.env) is OrderEnforcing:
        return _limited(env, _bare(env.env.env))
    if type(env) is OrderEnforcing:
        return _bare(env.env)
    return env.step


def _bare(env: Env) -> Step:
    return lander_step(env) or point_maze_step(env) or env.step


def _limited(limit: Any, step: Step) -> Step:
    """Count the steps in the wrapper itself: its reset sets them to 0."""
    most = limit._max_episode_steps

    def limited(action: Any) -> Stepped:
        obs, reward, terminated, truncated, info = step(action)
        lived = limit._elapsed_steps + 1
        limit._elapsed_steps = lived
        return obs, reward, terminated, truncated or lived >= most, info

    return limited
