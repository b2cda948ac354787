"""The two ways to simulate rows of one model, behind the same few calls.

`BatchSimulation` is `mujoco.batch.Batch`: rows are states that take turns in one MjData per thread, so
that memory hardly grows with rows.  `DataSimulation` keeps an MjData per row, and calls
`mj_rnePostConstraint` after each step as gymnasium does: contact forces (`cfrc_ext`) come from there.
Batch has no call for it, and what Batch leaves in `cfrc_ext` belongs to another stage of the
integrator, with and without sensors that need it.
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

    def start(self, ids: Ids, qpos: npt.NDArray[np.float64], qvel: npt.NDArray[np.float64]) -> None:
        """Reset some rows and put them into given states."""
        self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._qpos[ids] = qpos
        self._qvel[ids] = qvel
        self._batch.forward(ids)

    def step(self, ctrl: npt.NDArray[Any], ids: Ids | None) -> None:
        """Move some rows, or all, by one environment step under controls [rows, nu]."""
        self._ctrl[...] = ctrl
        self._batch.step(ids, nstep=self._frame_skip)

    def close(self) -> None:
        """Threads end with the batch."""


class DataSimulation:
    """Rows as one MjData each."""

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
        self._datas = [mujoco.MjData(own) for own in self._models]
        self._frame_skip = frame_skip
        self._pool = ThreadPoolExecutor(nthread) if nthread > 1 else None
        self._shares = nthread
        self._ctrls = [data.ctrl for data in self._datas]
        self._sources = {
            name: [getattr(data, name).reshape(-1) for data in self._datas] for name in names
        }
        first = self._datas[0]
        self.fields: Fields = {
            name: np.zeros((rows, *getattr(first, name).shape)) for name in names
        }
        self._targets = {name: array.reshape(-1) for name, array in self.fields.items()}
        self.body_mass = varied.get("body_mass", model.body_mass)

    def start(self, ids: Ids, qpos: npt.NDArray[np.float64], qvel: npt.NDArray[np.float64]) -> None:
        """Reset some rows and put them into given states."""
        for place, row in enumerate(ids.tolist()):
            model, data = self._models[row], self._datas[row]
            mujoco.mj_resetData(model, data)
            data.qpos[:] = qpos[place]
            data.qvel[:] = qvel[place]
            mujoco.mj_forward(model, data)
        self._gather()

    def step(self, ctrl: npt.NDArray[Any], ids: Ids | None) -> None:
        """Move some rows, or all, by one environment step under controls [rows, nu]."""
        rows = range(len(self._datas)) if ids is None else ids.tolist()
        if self._pool is None:
            self._move(rows, ctrl)
        else:
            shares = [rows[first :: self._shares] for first in range(self._shares)]
            list(self._pool.map(self._move, shares, [ctrl] * len(shares)))
        self._gather()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _move(self, rows: Sequence[int], ctrl: npt.NDArray[Any]) -> None:
        step, after, skip = mujoco.mj_step, mujoco.mj_rnePostConstraint, self._frame_skip
        for row in rows:
            model, data = self._models[row], self._datas[row]
            self._ctrls[row][:] = ctrl[row]
            step(model, data, nstep=skip)
            after(model, data)

    def _gather(self) -> None:
        for name, sources in self._sources.items():
            np.concatenate(sources, out=self._targets[name])
