"""One gymnasium environment before a camera: an episode, and what it looked like.

    pixels   what `render` gives, made small; for environments that draw without a graphics driver
    states   MuJoCo's whole state, to be drawn elsewhere: its renderer needs a driver, which the jail
             does not let in
    nothing  with the reason

Every `every`-th state is taken, the first and the last among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from core.envs.batch import Actions, Transition
from core.envs.building import Env, build
from core.envs.gymnasium_rows import GymnasiumRows
from core.fields import Floats, Layout
from core.records.task import Task

Camera: TypeAlias = Literal["pixels", "states", "nothing"]

Fit: TypeAlias = Callable[[int, int], tuple[int, int]]
"""(width, height) as it is drawn -> as it is kept."""


class FilmedRow(GymnasiumRows):
    """An `EnvBatch` of one row that keeps pictures of it.

    Attributes:
        camera: how it is seen.
        why:    why there are no pictures; empty as long as there are.
        shots:  bytes of each picture (RGB, [height, width, 3]) or state (float64).
        size:   (width, height) of a picture, both even; (0, 0) for states.
        fps:    states a second, by the environment's own word.
    """

    def __init__(self, task: Task, layout: Layout, every: int, fit: Fit) -> None:
        """Take every `every`-th state; `fit` says how large a picture is kept."""
        self.camera, self.why, self.fps = _look_at(task)
        super().__init__(_with_pictures(task, self.camera), layout, 1, autoreset=False)
        self.shots: list[bytes] = []
        self.size = (0, 0)
        self._every, self._fit = every, fit
        self._count = 0
        self._taken = -1

    def reset(self, seeds: Sequence[int]) -> Floats:
        """Start the episode, and take its first state."""
        state = super().reset(seeds)
        self._shoot()
        return state

    def step(self, action: Actions) -> Transition:
        """Advance by one step, and take the state if it is its turn or the last one."""
        was_over = bool(self._ended[0])
        moved = super().step(action)
        if not was_over:
            self._count += 1
            if self._count % self._every == 0 or self._ended[0]:
                self._shoot()
        return moved

    def _shoot(self) -> None:
        if self.camera == "nothing" or self._taken == self._count:
            return
        try:
            self.shots.append(self._picture() if self.camera == "pixels" else self._state())
            self._taken = self._count
        except Exception as error:  # noqa: BLE001  # a renderer may raise anything; the episode counts
            self.camera, self.shots = "nothing", []
            self.why = f"render() raised {type(error).__name__}: {error}"

    def _picture(self) -> bytes:
        from PIL import Image  # only who films needs it

        image = Image.fromarray(np.asarray(self._envs[0].render(), np.uint8)[..., :3])
        self.size = self.size if any(self.size) else self._fit(*image.size)
        return image.resize(self.size, Image.Resampling.BOX).tobytes()

    def _state(self) -> bytes:
        import mujoco

        env: Any = self._envs[0].unwrapped
        spec = mujoco.mjtState.mjSTATE_INTEGRATION
        state = np.empty(mujoco.mj_stateSize(env.model, spec), np.float64)
        mujoco.mj_getState(env.model, env.data, state, spec)
        return state.tobytes()


def _look_at(task: Task) -> tuple[Camera, str, float]:
    """Find out how an environment can be seen, and how fast its time passes."""
    env, _ = build(task)
    try:
        fps = float(env.metadata.get("render_fps") or 30.0)
        if is_mujoco(env):
            return "states", "", fps
        if "rgb_array" not in (env.metadata.get("render_modes") or ()):
            return "nothing", "the environment offers no render mode `rgb_array`", fps
        return "pixels", "", fps
    finally:
        env.close()


def is_mujoco(env: Env) -> bool:
    """Tell whether an environment is one of MuJoCo's."""
    return type(getattr(env.unwrapped, "model", None)).__module__.startswith("mujoco")


def _with_pictures(task: Task, camera: Camera) -> Task:
    if camera != "pixels":
        return task
    return replace(task, env_kwargs={**task.env_kwargs, "render_mode": "rgb_array"})
