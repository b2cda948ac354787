"""The two ways to simulate rows of one model, behind the same few calls.

`BatchSimulation` is `mujoco.batch.Batch`: rows are states that take turns in one MjData per thread.
`DataSimulation` does the same from Python, and calls `mj_rnePostConstraint` after each step as
gymnasium does: contact forces (`cfrc_ext`) come from there.  Batch makes that call only for models with
sensors that need it, such as an accelerometer, and then in the first stage of a Runge-Kutta step,
where gymnasium has what the last stage left: the two are equal under Euler's integrator alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco.batch import Batch

from core.envs.mujoco.models import varied_fields, varied_models
from core.envs.mujoco.scene import Fields
from core.envs.variations import Variation

_STATE = frozenset({"act", "ctrl", "qpos", "qvel"})
_WHOLE = mujoco.mjtState.mjSTATE_INTEGRATION.value
Ids: TypeAlias = npt.NDArray[np.intp]


class Simulation(Protocol):
    """Rows of one model.

    Attributes:
        fields:    the MjData fields that were asked for, [rows, …], refreshed by every call.
        body_mass: [nbody], or [rows, nbody] where it varies.
    """

    fields: Fields
    body_mass: npt.NDArray[np.float64]

    def start(self, ids: Ids, qpos: npt.NDArray[np.float64], qvel: npt.NDArray[np.float64]) -> None:
        """Reset some rows and put them into given states."""
        ...

    def step(self, ctrl: npt.NDArray[Any], ids: Ids | None) -> None:
        """Move some rows, or all, by one environment step under controls [rows, nu]."""
        ...

    def close(self) -> None:
        """Release threads."""
        ...


class BatchSimulation:
    """Rows as states of a `mujoco.batch.Batch`.  It starts its threads: make it after any fork."""

    def __init__(
        self,
        model: mujoco.MjModel,
        rows: int,
        names: Sequence[str],
        *,
        frame_skip: int,
        nthread: int,
        variations: Sequence[Variation],
    ) -> None:
        self._batch = Batch(model, rows, nthread)
        self._frame_skip = frame_skip
        self._qpos, self._qvel, self._ctrl = map(self._batch.bind, ("qpos", "qvel", "ctrl"))
        self.fields: Fields = {name: self._batch.bind(name) for name in names}
        varied = varied_fields(model, variations, rows)
        for field, values in varied.items():
            self._batch.expand(field)[...] = values
        if varied:
            self._batch.set_const()
        self.body_mass = varied.get("body_mass", model.body_mass)
        self._batch.reset(stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._fresh = self._batch.state[0].copy()  # what mj_resetData leaves
        self._derives = not _STATE.issuperset(names)  # mj_forward does not change the state itself

    def start(self, ids: Ids, qpos: npt.NDArray[np.float64], qvel: npt.NDArray[np.float64]) -> None:
        """Reset some rows and put them into given states."""
        self._batch.state[ids] = self._fresh
        self._qpos[ids] = qpos
        self._qvel[ids] = qvel
        if self._derives:
            self._batch.forward(ids)

    def step(self, ctrl: npt.NDArray[Any], ids: Ids | None) -> None:
        """Move some rows, or all, by one environment step under controls [rows, nu]."""
        self._ctrl[...] = ctrl
        self._batch.step(ids, nstep=self._frame_skip)

    def close(self) -> None:
        """Threads end with the batch."""


class DataSimulation:
    """Rows as states that take turns in one MjData per thread, each step followed by contact forces.

    One MjData for all rows stays in the processor's cache, and MuJoCo reserves some 14 MiB of address
    space for each.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        rows: int,
        names: Sequence[str],
        *,
        frame_skip: int,
        nthread: int,
        variations: Sequence[Variation],
    ) -> None:
        varied = varied_fields(model, variations, rows)
        self._models = varied_models(model, varied, rows)
        self._frame_skip = frame_skip
        self._states = list(np.zeros((rows, mujoco.mj_stateSize(model, _WHOLE))))
        self._seats = [mujoco.MjData(model) for _ in range(nthread)]
        self._pool = ThreadPoolExecutor(nthread) if nthread > 1 else None
        seat = self._seats[0]
        self.fields: Fields = {name: np.zeros((rows, *getattr(seat, name).shape)) for name in names}
        self._shown = [
            [(array, getattr(seat, name)) for name, array in self.fields.items()]
            for seat in self._seats
        ]
        self.body_mass = varied.get("body_mass", model.body_mass)

    def start(self, ids: Ids, qpos: npt.NDArray[np.float64], qvel: npt.NDArray[np.float64]) -> None:
        """Reset some rows and put them into given states."""
        data = self._seats[0]
        for place, row in enumerate(ids.tolist()):
            model = self._models[row]
            mujoco.mj_resetData(model, data)
            data.qpos[:] = qpos[place]
            data.qvel[:] = qvel[place]
            mujoco.mj_forward(model, data)
            self._leave(0, row)

    def step(self, ctrl: npt.NDArray[Any], ids: Ids | None) -> None:
        """Move some rows, or all, by one environment step under controls [rows, nu]."""
        rows = range(len(self._states)) if ids is None else ids.tolist()
        if self._pool is None:
            self._move(0, rows, ctrl)
            return
        seats = range(len(self._seats))
        shares = [rows[seat :: len(seats)] for seat in seats]
        list(self._pool.map(self._move, seats, shares, [ctrl] * len(seats)))

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _move(self, seat: int, rows: Sequence[int], ctrl: npt.NDArray[Any]) -> None:
        data, skip = self._seats[seat], self._frame_skip
        held = data.ctrl
        for row in rows:
            model = self._models[row]
            mujoco.mj_setState(model, data, self._states[row], _WHOLE)
            held[:] = ctrl[row]
            mujoco.mj_step(model, data, nstep=skip)
            mujoco.mj_rnePostConstraint(model, data)
            self._leave(seat, row)

    def _leave(self, seat: int, row: int) -> None:
        """Keep a row's state, and show its fields."""
        mujoco.mj_getState(self._models[row], self._seats[seat], self._states[row], _WHOLE)
        for array, value in self._shown[seat]:
            array[row] = value
