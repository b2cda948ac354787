"""PointMaze's step, number for number, with MuJoCo called as before and the rest said once.

Six of the original's 20 µs are the simulation's own step and seven the `mj_forward` before it, which
has to stay: it moves what the solver starts from.  Most of the remainder went into measuring one
distance three times and into checks of shapes (gymnasium_robotics.envs.maze.point_maze, .point).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from core.envs.building import Env

_MAZE = "gymnasium_robotics.envs.maze.point_maze"
_NEAR = 0.45  # m; a goal that is nearer is reached
_FASTEST = 5.0  # m/s; the ball is slowed down to it before every step


def point_maze_step(env: Env) -> Callable[[Any], Any] | None:
    """Return a step for gymnasium_robotics' own PointMaze, None for every other object.

    With a picture to draw it is None too: the original does that.
    """
    kind, maze = type(env), env
    if (kind.__module__, kind.__qualname__) != (_MAZE, "PointMazeEnv"):
        return None
    return None if maze.render_mode is not None else _step(maze)


def _step(maze: Any) -> Callable[[Any], Any]:
    import mujoco  # need not be installed

    model, data = maze.point_env.model, maze.point_env.data
    position, velocity, control = data.qpos, data.qvel, data.ctrl
    frames, dense = maze.point_env.frame_skip, maze.reward_type == "dense"
    episodic, moving = not maze.continuing_task, maze.continuing_task and maze.reset_target

    def step(action: Any) -> Any:
        np.minimum(np.maximum(velocity, -_FASTEST), _FASTEST, out=velocity)
        mujoco.mj_forward(model, data)
        np.minimum(np.maximum(action, -1.0), 1.0, out=control)
        mujoco.mj_step(model, data, nstep=frames)
        mujoco.mj_rnePostConstraint(model, data)

        point = np.concatenate((position, velocity))
        at, goal = point[:2].copy(), maze.goal.copy()
        away = at - goal
        distance = math.sqrt(away.dot(away))
        near = distance <= _NEAR
        reward = np.exp(-distance) if dense else float(near)
        if moving and near:
            maze.update_goal(
                at
            )  # the goal of the next step; this one's observation has the old one
        obs = {"observation": point, "achieved_goal": at, "desired_goal": goal}
        return obs, reward, episodic and near, False, {"success": near}

    return step
