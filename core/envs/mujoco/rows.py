"""Rows of a MuJoCo task: one table entry, one compiled model, one simulation.

Processor time on one thread of a 2-core Xeon, 64 and 128 rows, random actions, episodes included,
interleaved.  "mujoco-batch" against gymnasium objects: Hopper 1.7, HalfCheetah 2.1, Walker2d 1.4 times
as fast, and 0.90 to 0.96 of `Batch.step` alone.  "mujoco-data" against gymnasium objects: Ant 1.4,
Humanoid 1.4, HumanoidStandup 1.2; for Hopper, HalfCheetah and Walker2d it is 0.7 to 0.9 of
"mujoco-batch", so it is taken only where contact forces are read.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco.batch import SimulationError

from core.envs.batch import Actions, Bools, EnvFacts, EpisodeSeeds, Transition
from core.envs.mujoco.models import compiled, describe_machine
from core.envs.mujoco.routes import Adapter, read_options
from core.envs.mujoco.scene import Fields, Outcome, Scene
from core.envs.mujoco.simulations import BatchSimulation, DataSimulation, Ids, Simulation
from core.envs.mujoco.tasks import TASKS
from core.envs.variations import Variation
from core.errors import EnvironmentUnusable
from core.fields import Column, Floats, Layout
from core.records.kinds import Json
from core.records.task import Task

_NO_LIMIT = np.iinfo(np.int64).max
_SIMULATIONS: dict[str, type[BatchSimulation] | type[DataSimulation]] = {
    "mujoco-batch": BatchSimulation,
    "mujoco-data": DataSimulation,
}


class MujocoRows:
    """An `EnvBatch` over an entry of the table of MuJoCo tasks.

    The arrays of a `Transition` are its own: later steps do not write into them.
    """

    def __init__(
        self,
        task: Task,
        facts: EnvFacts,
        layout: Layout,
        rows: int,
        *,
        adapter: Adapter,
        autoreset: bool = True,
        nthread: int = 1,
        variations: Sequence[Variation] = (),
    ) -> None:
        self.rows = rows
        self.layout = layout
        self.adapter = adapter
        self.action: Json = facts.action
        self._low, self._high = (np.asarray(facts.action[e], np.float32) for e in ("low", "high"))
        self._name = task.environment
        self._task = TASKS[task.environment]
        self._options = read_options(self._task, task.env_kwargs) or {}
        self._limit = facts.max_episode_steps or _NO_LIMIT
        self._autoreset = autoreset
        model, skip = compiled(self._task.xml), int(self._options["frame_skip"])
        simulated = [c for c in layout.columns if c.source.kind == "sim"]
        names = sorted({*self._task.reads, *(str(c.source.key) for c in simulated)})
        self._sim: Simulation = _SIMULATIONS[adapter](
            model, rows, names, frame_skip=skip, nthread=nthread, variations=variations
        )
        self._machine = describe_machine(model, skip, self._sim.body_mass)
        self._simulated = [(c.start, c.stop, self._live(c)) for c in simulated]
        self._told = [
            (c.start, str(c.source.key)) for c in layout.columns if c.source.kind == "info"
        ]
        self._terminals = [c.start for c in layout.columns if c.source.kind == "terminated"]
        self._seeds: list[EpisodeSeeds] = []
        self._lived = np.zeros(rows, np.int64)
        self._last: Transition | None = None

    def reset(self, seeds: Sequence[int]) -> Floats:
        """Start all rows anew and return the state block [rows, layout.state_size]."""
        self._seeds = [EpisodeSeeds(seed) for seed in seeds]
        self._last = None
        return self._started(np.arange(self.rows))

    def step(self, action: Actions) -> Transition:
        """Advance every row by one step."""
        given = np.clip(np.asarray(action, np.float32), self._low, self._high)
        before = {name: self._sim.fields[name].copy() for name in self._task.before}
        self._move(given)
        scene = Scene(self._sim.fields, self._machine, self._options, np, before, given)
        outcome = self._task.judge(scene)
        block = self._block(scene, outcome)
        native = np.asarray(outcome.native, np.float32)
        self._check_finite(block, "step")
        self._check_finite(native, "step's reward")
        self._lived += 1
        truncated = self._lived >= self._limit
        if self._autoreset:
            state = self._state_after(block, outcome.terminated | truncated)
            return Transition(block, native, outcome.terminated, truncated, state)
        self._last = self._frozen(block, native, outcome.terminated, truncated)
        return self._last

    def close(self) -> None:
        """Release the simulation's threads."""
        self._sim.close()

    def _live(self, column: Column) -> npt.NDArray[np.float64]:
        """Return a live view [rows, n] of the numbers that a column shows."""
        field: npt.NDArray[np.float64] = self._sim.fields[str(column.source.key)]
        flat = field.reshape(self.rows, -1)
        first = column.source.start
        if flat.shape[1] < first + column.source.size:
            raise EnvironmentUnusable(
                f"{flat.shape[1]} numbers",
                expected=f"at least {first + column.source.size}",
                where=f"field {column.field.name!r} of {self._name}",
            )
        return flat[:, first : first + column.source.size]

    def _move(self, given: npt.NDArray[np.float32]) -> None:
        living: Ids | None = None
        if self._last is not None:
            living = np.flatnonzero(~(self._last.terminated | self._last.truncated))
        if living is not None and not living.size:
            return
        try:
            self._sim.step(given, living)
        except SimulationError as error:
            raise EnvironmentUnusable(str(error), where=self._name) from error

    def _block(self, scene: Scene, outcome: Outcome) -> Floats:
        block = np.empty((self.rows, self.layout.size), np.float32)
        block[:, : self.layout.observation_size] = self._task.observe(scene)
        for start, stop, values in self._simulated:
            block[:, start:stop] = values
        for start, key in self._told:
            block[:, start] = outcome.info[key]
        for start in self._terminals:
            block[:, start] = outcome.terminated
        return block

    def _state_after(self, block: Floats, ended: Bools) -> Floats:
        state = block[:, : self.layout.state_size]
        if ended.any():
            state, ids = state.copy(), np.flatnonzero(ended)
            state[ids] = self._started(ids)
        return state

    def _started(self, ids: Ids) -> Floats:
        """Start the next episode of some rows; return their first states [n, state_size]."""
        self._lived[ids] = 0
        start, machine, options = self._task.start, self._machine, self._options
        draws = [
            start(np.random.Generator(np.random.PCG64(self._seeds[row].next())), machine, options)
            for row in ids.tolist()
        ]
        qpos, qvel = (np.stack(part) for part in zip(*draws, strict=True))
        self._check_start(qpos, qvel)
        self._sim.start(ids, qpos, qvel)
        fields: Fields = {name: self._sim.fields[name][ids] for name in self._task.reads}
        state = np.empty((len(ids), self.layout.state_size), np.float32)
        observed = self._task.observe(Scene(fields, machine, options, np))
        state[:, : self.layout.observation_size] = observed
        for first, stop, values in self._simulated:
            state[:, first:stop] = values[ids]
        self._check_finite(state, "reset")
        return state

    def _frozen(
        self, block: Floats, native: Floats, terminated: Bools, truncated: Bools
    ) -> Transition:
        """Take the new values for living rows and repeat the last ones for those that ended."""
        if self._last is not None:
            ended = self._last.terminated | self._last.truncated
            block[ended] = self._last.next_block[ended]
            native[ended] = 0.0
            terminated = np.where(ended, self._last.terminated, terminated)
            truncated = np.where(ended, self._last.truncated, truncated)
        return Transition(block, native, terminated, truncated, block[:, : self.layout.state_size])

    def _check_start(self, *state: npt.NDArray[np.float64]) -> None:
        # gymnasium computes what is observed of such a state and resets in the first step; Batch
        # resets before it computes anything.
        largest = max(float(np.abs(part).max(initial=0.0)) for part in state)
        if not largest <= mujoco.mjMAXVAL:
            raise EnvironmentUnusable(
                f"a first state with {largest:g}",
                expected=f"positions and velocities up to {mujoco.mjMAXVAL:g}",
                where=self._name,
                hint="Make reset_noise_scale smaller; MuJoCo calls such a state unstable.",
            )

    def _check_finite(self, values: Floats, call: str) -> None:
        if not np.isfinite(values).all():
            raise EnvironmentUnusable(
                f"{call} gave NaN or infinity", expected="finite numbers", where=self._name
            )
