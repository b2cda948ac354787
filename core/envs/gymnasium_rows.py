"""Rows of gymnasium objects: anything that `gymnasium.make` can build, one object per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs.batch import Actions, EpisodeSeeds, Transition
from core.envs.building import Env, build
from core.envs.spaces import read_action_space, read_observation_space
from core.envs.stepping import stepper
from core.errors import EnvironmentUnusable
from core.fields import Column, Floats, Layout
from core.records.kinds import Json
from core.records.task import Task


class GymnasiumRows:
    """An `EnvBatch` over gymnasium environments, stepped one after another.

    A user's environment may raise anything; it becomes EnvironmentUnusable with its own words.
    """

    adapter = "gymnasium"

    def __init__(self, task: Task, layout: Layout, rows: int, *, autoreset: bool = True) -> None:
        self.rows = rows
        self.layout = layout
        self._name = task.environment
        self._envs: list[Env] = [build(task)[0] for _ in range(rows)]
        self._steps = [stepper(env) for env in self._envs]
        _stop_profiling(self._envs[0])
        self._observed = read_observation_space(self._envs[0].observation_space)
        self._flat = self._observed.flat
        acted = read_action_space(self._envs[0].action_space)
        self.action: Json = acted.description
        self._give = acted.give
        self._autoreset = autoreset
        self._seeds: list[EpisodeSeeds] = []
        self._block = np.zeros((rows, layout.size), np.float32)
        self._ended = np.zeros(rows, np.bool_)
        self._flags = (self._ended, self._ended)
        self._simulated = tuple(c for c in layout.columns if c.source.kind == "sim")
        self._told = tuple(c for c in layout.columns if c.source.kind == "info")
        self._terminals = tuple(c.start for c in layout.columns if c.source.kind == "terminated")

    def reset(self, seeds: Sequence[int]) -> Floats:
        """Start all rows anew and return the state block [rows, layout.state_size]."""
        self._seeds = [EpisodeSeeds(seed) for seed in seeds]
        self._block = np.zeros((self.rows, self.layout.size), np.float32)
        self._ended = np.zeros(self.rows, np.bool_)
        for row in range(self.rows):
            self._start(row, self._block[row])
        self._check_finite(self._block, "reset")
        return self._block[:, : self.layout.state_size].copy()

    def step(self, action: Actions) -> Transition:
        """Advance every row by one step."""
        block, native = self._block.copy(), np.zeros(self.rows, np.float32)
        terminated, truncated = np.zeros((2, self.rows), np.bool_)
        living = np.flatnonzero(~self._ended)
        actions = self._give(action[living])
        moved = [
            self._move(row, given, block[row])
            for row, given in zip(living.tolist(), actions, strict=True)
        ]
        if moved:
            native[living], terminated[living], truncated[living] = zip(*moved, strict=True)
        self._check_finite(block, "step")
        self._check_finite(native[:, None], "step's reward")
        if self._autoreset:
            return self._restarted(block, native, terminated, truncated)
        return self._frozen(block, native, terminated, truncated)

    def close(self) -> None:
        """Close every environment."""
        for env in self._envs:
            env.close()

    def _restarted(
        self,
        block: Floats,
        native: Floats,
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
    ) -> Transition:
        state = block[:, : self.layout.state_size].copy()
        for row in np.flatnonzero(terminated | truncated).tolist():
            fresh = np.zeros(self.layout.size, np.float32)
            self._start(row, fresh)
            state[row] = fresh[: self.layout.state_size]
        self._check_finite(state, "reset")
        return Transition(block, native, terminated, truncated, state)

    def _frozen(
        self,
        block: Floats,
        native: Floats,
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
    ) -> Transition:
        if self._ended.any():
            terminated[self._ended] = self._flags[0][self._ended]
            truncated[self._ended] = self._flags[1][self._ended]
        self._flags = (terminated, truncated)
        self._ended = terminated | truncated
        self._block = block
        state = block[:, : self.layout.state_size].copy()
        return Transition(block.copy(), native, terminated.copy(), truncated.copy(), state)

    def _start(self, row: int, block: Floats) -> None:
        seed = self._seeds[row].next()
        try:
            obs, _ = self._envs[row].reset(seed=seed)
        except Exception as error:
            raise self._raised("reset", error) from error
        self._observe(row, obs, block)

    def _move(self, row: int, action: Any, block: Floats) -> tuple[float, bool, bool]:
        try:
            obs, reward, terminated, truncated, info = self._steps[row](action)
        except Exception as error:
            raise self._raised("step", error) from error
        self._observe(row, obs, block)
        for column in self._told:
            block[column.start : column.stop] = self._info_value(column, info)
        for start in self._terminals:
            block[start] = float(terminated)
        return _number(reward, self._name), bool(terminated), bool(truncated)

    def _observe(self, row: int, obs: Any, block: Floats) -> None:
        flat = obs
        if type(obs) is not np.ndarray or obs.shape != self._flat or obs.dtype.kind != "f":
            flat = self._flattened(obs)
        block[: self._observed.size] = flat
        for column in self._simulated:
            block[column.start : column.stop] = self._simulator_value(row, column)

    def _flattened(self, obs: Any) -> Floats:
        try:
            flat = self._observed.flatten(obs)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise self._unlike_its_space(f"{type(error).__name__}: {error}") from error
        if flat.size != self._observed.size:
            raise self._unlike_its_space(f"{flat.size} numbers")
        return flat

    def _simulator_value(self, row: int, column: Column) -> npt.NDArray[Any]:
        bare = self._envs[row].unwrapped
        holder = getattr(bare, "data", bare)
        name = str(column.source.key)
        value = getattr(holder, name, None)
        if value is None:
            raise EnvironmentUnusable(
                f"the simulator has no array {name!r}",
                where=f"field {column.field.name!r} of {self._name}",
                hint="A source sim.name[...] is read from env.unwrapped.data, or from "
                "env.unwrapped where there is no data.",
            )
        return self._cut(column, value)

    def _info_value(self, column: Column, info: Mapping[str, Any]) -> npt.NDArray[Any]:
        key = str(column.source.key)
        if key not in info:
            raise EnvironmentUnusable(
                f"info has {sorted(map(str, info))}",
                expected=f"the key {key!r} at every step",
                where=f"field {column.field.name!r} of {self._name}",
            )
        return self._cut(column, info[key])

    def _cut(self, column: Column, value: Any) -> npt.NDArray[Any]:
        start, size = column.source.start, column.source.size
        where = f"field {column.field.name!r} of {self._name}"
        try:
            numbers = np.asarray(value, np.float64).ravel()
        except (ValueError, TypeError) as error:
            raise EnvironmentUnusable(
                f"a {type(value).__name__}", expected="numbers", where=where
            ) from error
        if numbers.size < start + size:
            raise EnvironmentUnusable(
                f"{numbers.size} numbers", expected=f"at least {start + size}", where=where
            )
        return numbers[start : start + size]

    def _raised(self, call: str, error: Exception) -> EnvironmentUnusable:
        return EnvironmentUnusable(
            f"{call}() raised {type(error).__name__}: {error}",
            where=self._name,
            hint="Mend the environment; nothing was trained.",
        )

    def _unlike_its_space(self, found: str) -> EnvironmentUnusable:
        return EnvironmentUnusable(
            found,
            expected=f"an observation of {self._observed.size} numbers as its space says",
            where=self._name,
        )

    def _check_finite(self, values: Floats, call: str) -> None:
        if not np.isfinite(values).all():
            raise EnvironmentUnusable(
                f"{call} gave NaN or infinity", expected="finite numbers", where=self._name
            )


def _number(reward: Any, name: str) -> float:
    try:
        return float(reward)
    except (ValueError, TypeError) as error:
        raise EnvironmentUnusable(
            f"a reward of type {type(reward).__name__}", expected="one number", where=name
        ) from error


def _stop_profiling(env: Env) -> None:
    """Stop MuJoCo's profiling clock if the environment is one of MuJoCo's."""
    if type(getattr(env.unwrapped, "model", None)).__module__.startswith("mujoco"):
        from core.envs.mujoco.clock import (
            stop_the_clock,  # only here is MuJoCo known to be installed
        )

        stop_the_clock()
