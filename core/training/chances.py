"""The chance of a pack's members, drawn in chunks, each member's from its own streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from core.fields import Floats
from core.training.streams import Purpose, stream

Draw = Callable[[np.random.Generator], Sequence[Floats]]


class Chances:
    """Random numbers by the number of the step or update that they are for.

    A chunk of them is drawn at once from a stream of seed, purpose and the chunk's number, so the
    numbers of a step are the same in every pack and after every resumption.
    """

    def __init__(
        self, seeds: Sequence[int], purpose: Purpose, chunk: int, draw: Draw, device: torch.device
    ) -> None:
        """Draw nothing yet.

        Args:
            seeds:   of the members.
            purpose: of the numbers.
            chunk:   K, how many steps or updates are drawn for at once.
            draw:    gives arrays [K, ...] from a generator.
            device:  where the numbers are wanted.
        """
        self._seeds, self._purpose, self._length = list(seeds), purpose, chunk
        self._draw, self._device = draw, device
        self._chunk = -1
        self._parts: list[Tensor] = []

    def at(self, number: int) -> list[Tensor]:
        """Return the arrays [P, ...] for one step or update."""
        chunk, place = divmod(number, self._length)
        if chunk != self._chunk:
            drawn = [self._draw(stream(seed, self._purpose, chunk)) for seed in self._seeds]
            self._parts = [
                torch.from_numpy(np.stack(part, axis=1)).to(self._device)
                for part in zip(*drawn, strict=True)
            ]
            self._chunk = chunk
        return [part[place] for part in self._parts]
