"""Rows of a system with vectorised NumPy dynamics: all of them move in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs.batch import Actions, Bools, EpisodeSeeds, Transition
from core.envs.classic import Dynamics
from core.envs.classic.dynamics import Constants, States
from core.envs.variations import Variation, checked_factors, unknown_parameter
from core.fields import Column, Floats, Layout
from core.records.kinds import Json

STATE = "state"  # the inner state's name as a simulator field: `sim.state[i]`


class NumpyRows:
    """An `EnvBatch` over `Dynamics`."""

    adapter = "numpy"

    def __init__(
        self,
        dynamics: Dynamics,
        layout: Layout,
        rows: int,
        *,
        limit: int,
        autoreset: bool = True,
        variations: Sequence[Variation] = (),
    ) -> None:
        self.rows = rows
        self.layout = layout
        self.action: Json = dynamics.action
        self._dynamics = dynamics
        self._advance = dynamics.advancing(_varied(dynamics, variations, rows))
        self._limit = limit
        self._autoreset = autoreset
        self._inner: States = np.zeros((rows, dynamics.state_size), dynamics.dtype)
        self._lived = np.zeros(rows, np.int64)
        self._seeds: list[EpisodeSeeds] = []
        self._last: Transition | None = None
        self._simulated = tuple(c for c in layout.columns if c.source.kind == "sim")
        self._terminals = tuple(c.start for c in layout.columns if c.source.kind == "terminated")

    def reset(self, seeds: Sequence[int]) -> Floats:
        """Start all rows anew and return the state block [rows, layout.state_size]."""
        self._seeds = [EpisodeSeeds(seed) for seed in seeds]
        self._last = None
        self._start(np.arange(self.rows))
        return self._block()[:, : self.layout.state_size]

    def step(self, action: Actions) -> Transition:
        """Advance every row by one step."""
        before = self._inner
        self._inner, native, terminated = self._advance(before, action)
        self._lived += 1
        truncated = self._lived >= self._limit
        block = self._block()
        for column in self._terminals:
            block[:, column] = terminated
        if not self._autoreset:
            self._last = self._frozen(before, block, native, terminated, truncated)
            return self._last
        return Transition(
            next_block=block,
            native=native.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            state=self._state_after(block, terminated | truncated),
        )

    def close(self) -> None:
        """Nothing is held."""

    def _start(self, rows: npt.NDArray[np.int64]) -> None:
        for row in rows:
            rng = np.random.Generator(np.random.PCG64(self._seeds[row].next()))
            self._inner[row] = self._dynamics.draw(rng)
        self._lived[rows] = 0

    def _block(self) -> Floats:
        block = np.zeros((self.rows, self.layout.size), np.float32)
        block[:, : self.layout.observation_size] = self._dynamics.observe(self._inner)
        for column in self._simulated:
            block[:, column.start : column.stop] = self._inner[:, _span(column)]
        return block

    def _state_after(self, block: Floats, ended: Bools) -> Floats:
        if not ended.any():
            return block[:, : self.layout.state_size]
        self._start(np.flatnonzero(ended))
        return self._block()[:, : self.layout.state_size]

    def _frozen(
        self,
        before: States,
        block: Floats,
        native: npt.NDArray[np.float64],
        terminated: Bools,
        truncated: Bools,
    ) -> Transition:
        """Take the new values for living rows and repeat the last ones for those that ended."""
        reward = native.astype(np.float32)
        if self._last is not None:
            ended = self._last.terminated | self._last.truncated
            self._inner[ended] = before[ended]
            block[ended] = self._last.next_block[ended]
            reward[ended] = 0.0
            terminated = np.where(ended, self._last.terminated, terminated)
            truncated = np.where(ended, self._last.truncated, truncated)
        state = block[:, : self.layout.state_size]
        return Transition(block, reward, terminated, truncated, state)


def _span(column: Column) -> slice:
    return slice(column.source.start, column.source.start + column.source.size)


def _varied(dynamics: Dynamics, variations: Sequence[Variation], rows: int) -> Constants:
    """Return the constants of a system, [rows] where they vary.

    Raises:
        InvalidInput: the system has no such constant, or the factors do not fit.
    """
    constants: dict[str, Any] = dict(dynamics.constants)
    for variation in variations:
        if variation.name not in constants:
            raise unknown_parameter(variation, list(constants), "classic control")
        constants[variation.name] = constants[variation.name] * checked_factors(variation, rows)
    return constants
