"""The update of a stack as a CUDA graph: one gradient step, captured once and replayed.

An eager gradient step is some hundred small kernels, and launching them costs more than running
them.  A graph launches them all in one call.  What a graph reads must stay where it was captured, so
a rollout's experience and row numbers are copied into buffers that live as long as the graph, and
the place in the list of rows is a number on the device that every replay moves on.

`np.array_split` gives minibatches of at most two sizes; each size has a graph of its own, so the
minibatches are those of the eager update, row for row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.training.ppo import Experience, Hyper, Losses, Stack, descend, loss_gradient

_WARM_UPS = 2  # libraries choose and allocate on their first calls, which no graph may hold

Step = Callable[[Experience], Losses]
"""One gradient step on a stack, given a minibatch.  It reads and writes tensors in place only: no
branch on a value, no `.item()`, no number that changes between steps unless it is a tensor on the
device."""


def gradient_step(stack: Stack, hyper: Hyper) -> Step:
    """Return the stack's own gradient step; `hyper` is read anew from its tensors at every step."""

    def step(batch: Experience) -> Losses:
        seen = loss_gradient(stack, batch, hyper)
        descend(stack, hyper)
        return seen.losses()

    return step


@dataclass(frozen=True, slots=True)
class _Buffers:
    """What every replay reads and writes; addresses never change.

    Attributes:
        experience: of one rollout.
        rows:       int64 [R], the rows of all minibatches one after another.
        at:         int64 [1], where the next minibatch begins.
        said:       [4, P] sums of the losses so far.
    """

    experience: Experience
    rows: Tensor
    at: Tensor
    said: Tensor


class GraphedUpdate:
    """All gradient steps of a rollout, on whatever device the stack is.

    On CUDA each minibatch size is captured at its first use; elsewhere the same steps run eagerly.
    Members that are not living keep their parameters, because `step` masks them on the device.
    """

    def __init__(self, stack: Stack, step: Step) -> None:
        self._stack = stack
        self._step = step
        self._device = stack.flat.device
        self._buffers: _Buffers | None = None
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    @property
    def captured(self) -> tuple[int, ...]:
        """Return the minibatch sizes that have a graph."""
        return tuple(sorted(self._graphs))

    @torch.no_grad()
    def __call__(self, experience: Experience, rows: Sequence[npt.NDArray[np.int64]]) -> Losses:
        """Take one gradient step per entry of `rows`, which holds row numbers of the experience.

        Returns:
            the losses' means over the steps, still on the device: nothing here waits for it.
        """
        buffers = self._filled(experience, np.concatenate(rows))
        for one in rows:
            self._advance(buffers, len(one))
        return Losses(*(buffers.said / len(rows)).unbind(0))

    def _filled(self, experience: Experience, rows: npt.NDArray[np.int64]) -> _Buffers:
        """Copy a rollout into the buffers; another shape makes new ones, and new graphs."""
        kept = self._buffers
        if kept is None or not _fits(kept, experience, rows):
            kept = self._buffers = _Buffers(
                experience=Experience(*(torch.empty_like(t) for t in _tensors(experience))),
                rows=torch.empty(len(rows), dtype=torch.int64, device=self._device),
                at=torch.zeros(1, dtype=torch.int64, device=self._device),
                said=torch.zeros(len(fields(Losses)), len(self._stack.flat), device=self._device),
            )
            self._graphs.clear()
        for own, new in zip(_tensors(kept.experience), _tensors(experience), strict=True):
            own.copy_(new)
        kept.rows.copy_(torch.from_numpy(rows))
        kept.at.zero_()
        kept.said.zero_()
        return kept

    def _advance(self, buffers: _Buffers, size: int) -> None:
        if self._device.type != "cuda":
            self._take(buffers, size)
            return
        if size not in self._graphs:
            self._graphs[size] = self._capture(buffers, size)
        self._graphs[size].replay()

    def _take(self, buffers: _Buffers, size: int) -> None:
        """Learn from the next `size` rows."""
        places = buffers.at + torch.arange(size, device=self._device)
        losses = self._step(buffers.experience.minibatch(buffers.rows.index_select(0, places)))
        buffers.said.add_(torch.stack([getattr(losses, f.name) for f in fields(losses)]))
        buffers.at.add_(size)

    def _capture(self, buffers: _Buffers, size: int) -> torch.cuda.CUDAGraph:
        """Record one step of this size.  Capturing runs nothing; the warm-up's changes are undone."""
        changed = (*_state(self._stack), buffers.at, buffers.said)
        before = [tensor.clone() for tensor in changed]
        aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                buffers.at.zero_()
                self._take(buffers, size)
        torch.cuda.current_stream(self._device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._take(buffers, size)
        for tensor, old in zip(changed, before, strict=True):
            tensor.copy_(old)
        return graph


def _state(stack: Stack) -> tuple[Tensor, ...]:
    return (stack.flat, stack.first, stack.second, stack.updates, stack.gradient)


def _tensors(experience: Experience) -> tuple[Tensor, ...]:
    return tuple(getattr(experience, field.name) for field in fields(experience))


def _fits(buffers: _Buffers, experience: Experience, rows: npt.NDArray[np.int64]) -> bool:
    pairs = zip(_tensors(buffers.experience), _tensors(experience), strict=True)
    same = all(own.shape == new.shape and own.dtype == new.dtype for own, new in pairs)
    return same and len(rows) == len(buffers.rows)
