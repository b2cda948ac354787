"""Rows whose blocks are torch tensors on one device: what a trainer on a GPU steps.

It is `core.envs.batch` with tensors in place of arrays.  Nothing in a step may wait for the device,
so rows end and begin anew by masks, and what could not be told at once is told by `look`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from core.envs.batch import EnvBatch
from core.fields import Layout
from core.records.kinds import Json


@dataclass(frozen=True, slots=True)
class TensorTransition:
    """What one step of a batch gave; the attributes are those of `core.envs.batch.Transition`."""

    next_block: Tensor
    native: Tensor
    terminated: Tensor
    truncated: Tensor
    state: Tensor


class TensorBatch(Protocol):
    """Rows of one environment on one device, reset in the step in which they end."""

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
        """Return the adapter's name, which goes into the run's record."""
        ...

    @property
    def device(self) -> torch.device:
        """Return where the tensors are."""
        ...

    def reset(self, seeds: Sequence[int]) -> Tensor:
        """Start all rows anew and return the state block [rows, layout.state_size]."""
        ...

    def step(self, action: Tensor) -> TensorTransition:
        """Advance every row by one step; the tensors are the caller's to keep.

        Args:
            action: int64 [rows] counted from 0, or float32 [rows, A] already clipped to the bounds.
        """
        ...

    def look(self) -> None:
        """Wait for the device and say what went wrong since the last look.

        Raises:
            EnvironmentUnusable: the simulator ran out of room, or broke.
        """
        ...

    def close(self) -> None:
        """Release what the rows hold."""
        ...


class OnDevice:
    """Any `EnvBatch` as a `TensorBatch`: stepped on the host, its blocks copied to the device.

    Every step waits for the device.  It is the bridge to environments that no GPU simulates, and the
    reference against which the trainer on the device is tested.
    """

    def __init__(self, batch: EnvBatch, device: torch.device) -> None:
        self._batch = batch
        self.device = device
        self.rows = batch.rows
        self.layout = batch.layout
        self.action = batch.action
        self.adapter = batch.adapter

    def reset(self, seeds: Sequence[int]) -> Tensor:
        """Start all rows anew and return the state block [rows, layout.state_size]."""
        return self._tensor(self._batch.reset(seeds))

    def step(self, action: Tensor) -> TensorTransition:
        """Advance every row by one step."""
        step = self._batch.step(action.cpu().numpy())
        return TensorTransition(
            next_block=self._tensor(step.next_block),
            native=self._tensor(step.native),
            terminated=self._tensor(step.terminated),
            truncated=self._tensor(step.truncated),
            state=self._tensor(step.state),
        )

    def look(self) -> None:
        """Nothing can be hidden: `step` raises at once."""

    def close(self) -> None:
        """Release what the rows hold."""
        self._batch.close()

    def _tensor(self, array: object) -> Tensor:
        # A copy even on the CPU: adapters reuse their arrays.
        return torch.tensor(array, device=self.device)
