"""Episodes lived to their end, all rows in lock step, with the fitness of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.envs.batch import Actions, EnvBatch, Transition
from core.fields import Column, Floats
from core.fitness import MOST_STEPS, episode_fitness, fields_of
from core.records.task import Fitness
from core.training.transitions import Transitions

Choose = Callable[[Floats], Actions]
"""State block [rows, state_size] -> int64 [rows] counted from 0, or float32 [rows, A] in bounds."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode of one row; `finished` is false if time ran out first."""

    fitness: float
    native: float
    length: int
    terminated: bool
    finished: bool
    transitions: Transitions | None = None


def run_episodes(
    batch: EnvBatch,
    choose: Choose,
    seeds: Sequence[int],
    fitness: Fitness,
    *,
    keep: Collection[int] = (),
    limit: int | None = None,
    deadline: float | None = None,
) -> list[Episode]:
    """Live one episode per row of a batch made with `autoreset=False`.

    Args:
        batch:    the environments.
        choose:   the policy.
        seeds:    [rows], one per row.
        fitness:  what is measured.
        keep:     rows whose transitions are recorded.
        limit:    most steps of an episode.
        deadline: on the monotonic clock; what is not finished then is cut.

    Returns:
        One episode per row, in order.
    """
    log = _Log(batch, fitness, sorted(keep))
    state = batch.reset(seeds)
    for _ in range(limit or MOST_STEPS):
        action = choose(state)
        transition = batch.step(action)
        log.add(state, action, transition)
        state = transition.state
        if not log.alive.any() or (deadline is not None and time.monotonic() > deadline):
            break
    return [log.episode(row) for row in range(batch.rows)]


@dataclass(slots=True)
class _Log:
    """What happened so far: for all rows what fitness needs, for kept rows everything."""

    batch: EnvBatch
    fitness: Fitness
    keep: list[int]
    alive: npt.NDArray[np.bool_] = field(init=False)
    lengths: npt.NDArray[np.int64] = field(init=False)
    terminated: npt.NDArray[np.bool_] = field(init=False)
    columns: list[Column] = field(init=False)
    native: list[Floats] = field(default_factory=list)
    values: list[list[Floats]] = field(default_factory=list)
    kept: list[Transitions] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows, names = self.batch.rows, fields_of(self.fitness)
        self.alive = np.ones(rows, np.bool_)
        self.lengths = np.zeros(rows, np.int64)
        self.terminated = np.zeros(rows, np.bool_)
        self.columns = [c for c in self.batch.layout.columns if c.field.name in names]

    def add(self, state: Floats, action: Actions, step: Transition) -> None:
        self.lengths += self.alive
        self.terminated |= self.alive & step.terminated
        self.native.append(np.array(step.native))
        self.values.append([np.array(step.next_block[:, c.start : c.stop]) for c in self.columns])
        if self.keep and self.alive[self.keep].any():
            self.kept.append(self._kept(state, action, step))
        self.alive &= ~(step.terminated | step.truncated)

    def _kept(self, state: Floats, action: Actions, step: Transition) -> Transitions:
        return Transitions(
            state[self.keep],
            action[self.keep],
            step.next_block[self.keep],
            step.native[self.keep],
            step.terminated[self.keep],
        )

    def episode(self, row: int) -> Episode:
        lived = int(self.lengths[row])
        native = np.array([step[row] for step in self.native[:lived]], np.float64)
        values = {
            column.field.name: self._series(index, row, lived)
            for index, column in enumerate(self.columns)
        }
        return Episode(
            fitness=episode_fitness(self.fitness, values, native),
            native=float(native.sum()),
            length=lived,
            terminated=bool(self.terminated[row]),
            finished=not self.alive[row],
            transitions=self._transitions(row, lived) if row in self.keep else None,
        )

    def _series(self, index: int, row: int, lived: int) -> Floats:
        series = np.stack([step[index][row] for step in self.values[:lived]])
        return series[:, 0] if self.columns[index].scalar else series

    def _transitions(self, row: int, lived: int) -> Transitions:
        place = self.keep.index(row)
        return Transitions(
            *(
                np.stack([getattr(step, name)[place] for step in self.kept[:lived]])
                for name in Transitions.__slots__
            )
        )
