"""What every environment adapter offers: rows that are reset and stepped together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from core.fields import Floats, Layout
from core.records.kinds import Json
from core.records.task import Field

Bools: TypeAlias = npt.NDArray[np.bool_]
Actions: TypeAlias = npt.NDArray[Any]  # int64 [rows], or float32 [rows, A] clipped to the bounds

_SEEDS_PER_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Transition:
    """What one step of a batch gave.

    Attributes:
        next_block: [rows, layout.size], the state reached, before any reset.
        native:     [rows], the environment's own reward.
        terminated: [rows], the episode ended by the environment's own rule.
        truncated:  [rows], the episode was cut by a time limit; may coincide with `terminated`.
        state:      [rows, layout.state_size], what to act on next: the first state of the next
                    episode where one ended, `next_block[:, :state_size]` elsewhere.
    """

    next_block: Floats
    native: Floats
    terminated: Bools
    truncated: Bools
    state: Floats


class EnvBatch(Protocol):
    """Rows of one environment.  A row's whole future depends on its seed and its actions alone.

    With `autoreset=False` a row whose episode has ended stays frozen: its last block is repeated,
    its native reward is 0 and its end flags stay set.
    """

    @property
    def rows(self) -> int:
        """Return how many environments are stepped together."""
        ...

    @property
    def layout(self) -> Layout:
        """Return the columns of a block."""
        ...

    @property
    def action(self) -> Json:
        """Return the action's description, as in `Preflight.action`."""
        ...

    @property
    def adapter(self) -> str:
        """Return the adapter's name ("numpy", "mujoco-batch", "mujoco-data", "gymnasium")."""
        ...

    def reset(self, seeds: Sequence[int]) -> Floats:
        """Start all rows anew and return the state block [rows, layout.state_size].

        Raises:
            EnvironmentUnusable: the environment raised, or gave what its spaces do not promise.
        """
        ...

    def step(self, action: Actions) -> Transition:
        """Advance every row by one step.

        Args:
            action: int64 [rows] counted from 0, or float32 [rows, A] already clipped to the bounds.

        Raises:
            EnvironmentUnusable: as in `reset`.
        """
        ...

    def close(self) -> None:
        """Release what the rows hold."""
        ...


@dataclass(frozen=True, slots=True)
class EnvFacts:
    """What is known of an environment before its first step.

    Attributes:
        observation_size:  D, length of the flat observation.
        key_offsets:       for dictionary observations, key -> offset in the flat vector.
        action:            as in `Preflight.action`; "start" is added where a Discrete one is not 0.
        max_episode_steps: the time limit in force, None if there is none.
        fields:            the task's fields, or those derived from the observation space.
        adapter:           which implementation `make_batch` takes.
        warnings:          what the environment's maker warned of.
    """

    observation_size: int
    key_offsets: dict[str, int]
    action: Json
    max_episode_steps: int | None
    fields: tuple[Field, ...]
    adapter: str
    warnings: tuple[str, ...] = ()


class EpisodeSeeds:
    """The seeds of a row's episodes: its own seed first, then children of it, without end.

    Both adapters use it, so the same row seed gives the same episodes in both.
    """

    def __init__(self, seed: int) -> None:
        self._seed = int(seed)
        self._chunk = 0
        self._waiting: list[int] = [self._seed]

    def next(self) -> int:
        """Return the seed of the next episode."""
        if not self._waiting:
            children = np.random.SeedSequence(self._seed, spawn_key=(self._chunk,))
            self._chunk += 1
            self._waiting = children.generate_state(_SEEDS_PER_CHUNK).tolist()[::-1]
        return self._waiting.pop()
