"""Rows whose reward is the fitness itself, step by step: what the arm FITNESS is trained on.

Everything after the batch takes it for the native reward: rollouts, replays and their checkpoints need
to know nothing of it.  A pack trains either on the fitness or on something else, never on both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from core.conditions import evaluate, holds, parse_term, parse_where
from core.envs.batch import Actions, EnvBatch, Transition
from core.fields import Floats, Layout
from core.fitness import fields_of
from core.records.kinds import Json
from core.records.task import Fitness

Doubles = npt.NDArray[np.float64]
Measured = Callable[[Mapping[str, Floats], Floats], Doubles]
SoFar = Callable[[Doubles, Doubles, npt.NDArray[np.bool_]], Doubles]


class FitnessRows:
    """An `EnvBatch` that pays the per-step form of a fitness in place of the native reward.

    The rewards of an episode add up to `core.fitness.episode_fitness`, with one exception: the mean of
    a field is divided by the time limit and not by the episode's length, which nobody knows before
    its end.  Where there is no limit it is not divided at all.  Of several parts (kind `least`) the
    growth of the smallest is paid.

    Args:
        batch:   the environments, which start anew by themselves where an episode ends.
        fitness: what is paid.
        limit:   the time limit in steps, None if there is none.
    """

    def __init__(self, batch: EnvBatch, fitness: Fitness, limit: int | None) -> None:
        self._batch = batch
        self._parts = [_Part(part, limit, batch.rows) for part in fitness.parts or (fitness,)]
        self._fields = fields_of(fitness)
        self._sum = np.zeros(batch.rows)  # what the running episode has been paid

    @property
    def rows(self) -> int:
        """Return how many environments are stepped together."""
        return self._batch.rows

    @property
    def layout(self) -> Layout:
        """Return the columns of a block."""
        return self._batch.layout

    @property
    def action(self) -> Json:
        """Return the action's description."""
        return self._batch.action

    @property
    def adapter(self) -> str:
        """Return the adapter's name."""
        return self._batch.adapter

    def reset(self, seeds: Sequence[int]) -> Floats:
        """Start all rows anew and return the state block [rows, layout.state_size]."""
        self._forget(np.ones(self.rows, np.bool_))
        return self._batch.reset(seeds)

    def step(self, action: Actions) -> Transition:
        """Advance every row by one step, and pay what the fitness has grown by."""
        step = self._batch.step(action)
        values = self._batch.layout.values(step.next_block, self._fields)
        now = np.min([part.lived(values, step.native) for part in self._parts], axis=0)
        paid = np.asarray(now - self._sum, np.float32)
        self._sum = now
        self._forget(step.terminated | step.truncated)
        return replace(step, native=paid)

    def _forget(self, ended: npt.NDArray[np.bool_]) -> None:
        self._sum[ended] = 0.0
        for part in self._parts:
            part.forget(ended)

    def close(self) -> None:
        """Release what the rows hold."""
        self._batch.close()


class _Part:
    """A fitness of one part, as far as the running episodes have come with it."""

    def __init__(self, fitness: Fitness, limit: int | None, rows: int) -> None:
        self._measured = _measured(fitness)
        self._grown = _so_far(fitness, limit)
        self._so_far = np.zeros(rows)
        self._first = np.ones(rows, np.bool_)

    def lived(self, values: Mapping[str, Floats], native: Floats) -> Doubles:
        """Take a step of every row in, and return what the episodes have so far, [rows]."""
        self._so_far = self._grown(self._measured(values, native), self._so_far, self._first)
        self._first = np.zeros(len(self._first), np.bool_)
        return self._so_far

    def forget(self, ended: npt.NDArray[np.bool_]) -> None:
        """Begin anew in rows whose episodes have ended."""
        self._so_far = np.where(ended, 0.0, self._so_far)
        self._first = self._first | ended


def _measured(fitness: Fitness) -> Measured:
    """Return what is read from a step of every row, [rows]."""
    if fitness.kind == "return":
        return lambda _, native: np.asarray(native, np.float64)
    if fitness.kind == "statistic":
        term = parse_term(fitness.field or "")
        return lambda values, _: np.asarray(evaluate(term, values), np.float64)
    condition = parse_where(fitness.where or "")
    return lambda values, native: holds(condition, values, len(native)).astype(np.float64)


def _so_far(fitness: Fitness, limit: int | None) -> SoFar:
    """Return how the fitness of the running episodes follows from (measured, so far, first step)."""
    if fitness.kind == "return":
        return lambda x, so_far, first: so_far + x
    if fitness.kind == "share":
        horizon = fitness.horizon or 1
        return lambda x, so_far, first: so_far + x / horizon
    if fitness.kind == "success":
        if fitness.over == "last":
            return lambda x, so_far, first: x
        return lambda x, so_far, first: np.maximum(so_far, x)
    steps = limit or 1
    forms: Mapping[str, SoFar] = {
        "sum": lambda x, so_far, first: so_far + x,
        "mean": lambda x, so_far, first: so_far + x / steps,
        "last": lambda x, so_far, first: x,
        "max": lambda x, so_far, first: np.where(first, x, np.maximum(so_far, x)),
        "min": lambda x, so_far, first: np.where(first, x, np.minimum(so_far, x)),
    }
    return forms[fitness.over or "mean"]
