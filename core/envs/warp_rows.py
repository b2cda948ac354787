"""Rows simulated on a GPU by MuJoCo Warp: gymnasium's MuJoCo tasks with torch tensors.

It computes in single precision, with other contact and solver code than MuJoCo in C: close over a few
steps, not equal over an episode.  So nobody gets it unless a device was asked for, and the adapter's
name is in the record.  What a task observes, pays and ends at is the one table of
`core.envs.mujoco.tasks`; which first state an episode has is decided by `core.envs.device_starts`.

On CUDA the simulator's steps are captured once and replayed; on the CPU, where tests run, they are
called.  Needs the extra `gpu-sim`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.envs.device_starts import SUPPLY, SUPPLY_SEED, chosen, row_keys
from core.envs.mujoco.scene import Machine, Scene
from core.envs.tensor_batch import TensorTransition
from core.envs.warp_plan import plan
from core.errors import EnvironmentUnusable
from core.fields import Column
from core.records.task import Task

ADAPTER = "mujoco-warp"
CONTACTS = 48  # room per row; rows share it, so one may have more
CONSTRAINTS = 128  # room per row
_STATE = ("qpos", "qvel")


class WarpRows:
    """A `TensorBatch` over one MuJoCo Warp simulation with a world per row."""

    adapter = ADAPTER

    def __init__(self, task: Task, rows: int, device: torch.device) -> None:
        """Put the model and `rows` worlds on a device.

        Raises:
            EnvironmentUnusable: the extra is not installed, or the task is none of the table.
        """
        self._warp, self._mjw = _libraries()
        self._plan = plan(task)
        self.rows = rows
        self.device = _numbered(device)
        self.layout = self._plan.layout
        self.action = self._plan.action
        self._place = self._warp.device_from_torch(self.device)
        with self._warp.ScopedDevice(self._place):
            self._model = self._mjw.put_model(self._plan.model)
            self._model.opt.warn_overflow = 0  # told by `look`, not printed by the device
            self._data = self._mjw.make_data(
                self._plan.model, nworld=rows, nconmax=CONTACTS, njmax=CONSTRAINTS
            )
        self._views: dict[str, Tensor] = {}
        # What else a fresh episode starts without; few models have activations.
        self._cleared = ("qacc_warmstart", "ctrl", *(("act",) if self._plan.model.na else ()))
        self._machine = self._on_device(self._plan.machine)
        self._fields = {n: self._view(n) for n in self._wanted()}
        self._derived = not set(self._fields) <= set(_STATE)
        self._supply = self._draw_supply()
        self._steps = self._captured(self._simulate)
        self._forward = self._captured(self._refresh) if self._derived else None
        self._keys = torch.zeros(rows, dtype=torch.int64, device=self.device)
        self._episodes = torch.zeros_like(self._keys)
        self._lived = torch.zeros_like(self._keys)
        self._after: Mapping[str, Tensor] = {}

    def reset(self, seeds: Sequence[int]) -> Tensor:
        """Start all rows anew and return the state block [rows, layout.state_size]."""
        self._keys = row_keys(seeds, self.device)
        self._episodes.zero_()
        self._lived.zero_()
        with self._warp.ScopedDevice(self._place):
            self._mjw.reset_data(self._model, self._data)
        self._warp.synchronize_device(
            self._place
        )  # it ran on warp's stream, what follows on torch's
        self._begin(torch.ones(self.rows, dtype=torch.bool, device=self.device))
        self._after = self._read()
        return self._block(self._scene())[:, : self.layout.state_size]

    def step(self, action: Tensor) -> TensorTransition:
        """Advance every row by one step; nothing here waits for the device."""
        before = {name: self._after[name] for name in self._plan.task.before}
        self._view("ctrl").copy_(action)
        self._steps()
        self._after = self._read()
        scene = self._scene(before, action)
        outcome = self._plan.task.judge(scene)
        self._lived += 1
        terminated = outcome.terminated
        truncated = self._lived >= self._plan.limit
        block = self._block(scene)
        for column in self.layout.columns:
            if column.source.kind == "info":
                block[:, column.start : column.stop] = _columns(outcome.info, column)
            elif column.source.kind == "terminated":
                block[:, column.start] = terminated
        state = self._restarted(terminated | truncated, block[:, : self.layout.state_size])
        return TensorTransition(block, outcome.native.float(), terminated, truncated, state)

    def look(self) -> None:
        """Wait for the device and say whether the simulator ran out of room.

        Raises:
            EnvironmentUnusable: contacts or constraints were dropped, so results are wrong.
        """
        bits = int(self._view("overflow").max())
        broken = bits & _broken(self._mjw)
        if broken:
            raise EnvironmentUnusable(
                f"more contacts or constraints than there is room for (flags {broken:#x})",
                expected=f"at most {CONTACTS} contacts and {CONSTRAINTS} constraints per row",
                where=f"simulating {self.rows} rows on {self.device}",
                hint="Train this task on the CPU: REWARDSMITH_DEVICE=cpu.",
            )

    def close(self) -> None:
        """The device's memory goes with the object."""

    # --- the simulator ----------------------------------------------------------------------------

    def _wanted(self) -> set[str]:
        """Return the names of the simulator's arrays that blocks and rewards are made from."""
        simulated_columns = (c for c in self.layout.columns if c.source.kind == "sim")
        own = {str(column.source.key) for column in simulated_columns}
        return {*self._plan.task.reads, *self._plan.task.before, *own}

    def _view(self, name: str) -> Tensor:
        """Return an array of the simulator as a tensor [rows, ...] that shares its memory."""
        if name in self._views:
            return self._views[name]
        array = getattr(self._data, name, None)
        if array is None:
            raise EnvironmentUnusable(
                f"no simulator field {name!r}", where="simulating on a GPU", hint="Use another."
            )
        self._views[name] = self._warp.to_torch(array)
        return self._views[name]

    def _read(self) -> Mapping[str, Tensor]:
        return {name: view.clone() for name, view in self._fields.items()}

    def _simulate(self) -> None:
        for _ in range(self._plan.skip):
            self._mjw.step(self._model, self._data)
        if "cfrc_ext" in self._fields:
            self._mjw.rne_postconstraint(self._model, self._data)

    def _refresh(self) -> None:
        self._mjw.forward(self._model, self._data)

    def _captured(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return a function that does the work on torch's stream; on CUDA by replaying a graph."""
        warp = self._warp
        with warp.ScopedDevice(self._place):
            work()  # compiles what is not compiled yet
            if not self._place.is_cuda:
                return work
            with warp.ScopedCapture(self._place) as capture:
                work()
            warp.synchronize_device(self._place)

        def replay() -> None:
            warp.capture_launch(capture.graph, stream=self._stream())

        return replay

    def _stream(self) -> Any:
        """Return torch's current stream as warp knows it."""
        current = torch.cuda.current_stream(self.device)
        if current.cuda_stream == 0:  # CUDA's default stream, which warp has a name for
            return self._place.null_stream
        return self._warp.stream_from_torch(current)

    # --- blocks -----------------------------------------------------------------------------------

    def _scene(self, before: Mapping[str, Tensor] | None = None, action: Any = None) -> Scene:
        return Scene(
            after=self._after,
            machine=self._machine,
            options=self._plan.options,
            xp=torch,
            before=before or {},
            action=action,
        )

    def _block(self, scene: Scene) -> Tensor:
        block = torch.zeros(self.rows, self.layout.size, device=self.device)
        block[:, : self.layout.observation_size] = self._plan.task.observe(scene)
        for column in self.layout.columns:
            if column.source.kind == "sim":
                values = self._after[str(column.source.key)].reshape(self.rows, -1)
                start = column.source.start
                block[:, column.start : column.stop] = values[:, start : start + column.source.size]
        return block

    def _on_device(self, machine: Machine) -> Machine:
        mass = torch.tensor(machine.body_mass, dtype=torch.float32, device=self.device)
        return Machine(machine.dt, machine.timestep, machine.qpos, machine.qvel, machine.body, mass)

    # --- beginnings -------------------------------------------------------------------------------

    def _draw_supply(self) -> tuple[Tensor, Tensor]:
        """Draw the supply of first states: qpos [SUPPLY, nq] and qvel [SUPPLY, nv]."""
        rng = np.random.Generator(np.random.PCG64(SUPPLY_SEED))
        draw = self._plan.task.start
        drawn = [draw(rng, self._plan.machine, self._plan.options) for _ in range(SUPPLY)]
        qpos, qvel = (np.stack(parts).astype(np.float32) for parts in zip(*drawn, strict=True))
        return torch.tensor(qpos, device=self.device), torch.tensor(qvel, device=self.device)

    def _begin(self, rows: Tensor) -> None:
        """Put the rows of a mask [rows] at the beginning of their next episode."""
        entry = chosen(self._keys, self._episodes)
        mask = rows[:, None]
        for name, supply in zip(_STATE, self._supply, strict=True):
            view = self._view(name)
            view.copy_(torch.where(mask, supply[entry], view))
        for name in self._cleared:
            self._view(name).masked_fill_(mask, 0.0)
        self._episodes += rows
        self._lived.masked_fill_(rows, 0)
        if self._forward is not None:
            self._forward()

    def _restarted(self, ended: Tensor, reached: Tensor) -> Tensor:
        """Start ended rows anew; return the state to act on next, `reached` for the others."""
        lived = self._after
        self._begin(ended)
        fresh = self._read()
        self._after = {
            name: torch.where(ended.view(-1, *[1] * (old.ndim - 1)), fresh[name], old)
            for name, old in lived.items()
        }
        if "cfrc_ext" in self._after:
            self._after["cfrc_ext"].masked_fill_(ended[:, None, None], 0.0)
        first = self._block(self._scene())[:, : self.layout.state_size]
        return torch.where(ended[:, None], first, reached)


def _numbered(device: torch.device) -> torch.device:
    """Name the GPU that torch means by "cuda" alone; warp wants its number."""
    if str(device) == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _columns(info: Mapping[str, Tensor], column: Column) -> Tensor:
    """Return an info value as columns [rows, n]."""
    key = str(column.source.key)
    if key not in info:
        raise EnvironmentUnusable(
            f"no info value {key!r}",
            expected=f"one of {', '.join(info)}",
            where=f"field {column.field.name!r}",
        )
    values = info[key]
    flat = values.reshape(len(values), -1)
    return flat[:, column.source.start : column.source.start + column.source.size]


def _broken(mjw: Any) -> int:
    """Return the bits of `Data.overflow` that mean wrong results, not merely loose ones."""
    kinds = importlib.import_module(f"{mjw.__name__}._src.types").OverflowType
    loose = kinds.ITERATIONS | kinds.LS_ITERATIONS | kinds.NONE
    return int(kinds.ALL & ~loose)


def _libraries() -> tuple[Any, Any]:
    """Import warp and mujoco_warp, quietly.

    Raises:
        EnvironmentUnusable: they are not installed.
    """
    try:
        warp = importlib.import_module("warp")
        warp.config.quiet = True
        warp.init()
        return warp, importlib.import_module("mujoco_warp")
    except ImportError as missing:
        raise EnvironmentUnusable(
            f"a package is missing ({missing})",
            where="simulating on a GPU",
            hint='Install it: pip install "rewardsmith[gpu-sim]"',
        ) from missing
