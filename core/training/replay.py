"""The replay of a pack: raw transitions of every member, and what its program makes of them.

Stored is what the environment gave (`Transitions`), so any program can relabel all of it.  What the
present program says of the rows (its rewards, and the inputs with its features) is kept beside them
and computed anew only when rows or program are new, never per minibatch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.fields import Floats, Layout
from core.training.action_space import ActionSpace
from core.training.designs import Designs
from core.training.rollout import half_range, middle
from core.training.stacked import Batch
from core.training.transitions import Transitions

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Label:
    """What a member's program makes of its rows.

    Attributes:
        rewards:   [..., R]
        inputs, following: [..., R, I] observation and features before and after.
    """

    rewards: Floats
    inputs: Floats
    following: Floats


def observe(designs: Designs, states: Floats, size: int) -> Floats:
    """Return observation and features [P, B, D + F] of states [P, B, ≥ state_size]."""
    observed, features = states[..., :size], designs.features(states)
    return np.concatenate([observed, features], -1) if features.shape[-1] else observed


def relabel(designs: Designs, rows: Transitions, size: int) -> Label:
    """Label rows that are stored by the program of one member.

    Args:
        designs: of that member alone, with its count of features known.
        rows:    [R] at least one.
        size:    D, the length of the observation.
    """
    earned = designs.earn(
        rows.state[None, None],
        rows.action[None, None],
        rows.next[None, None],
        rows.native[None, None],
    )
    return Label(
        earned.rewards[0, 0],
        observe(designs, rows.state[None], size)[0],
        observe(designs, rows.next[None], size)[0],
    )


class Replay:
    """Rings of transitions, one per member, all with room for `capacity` rows.

    Raw rows lie in NumPy's memory, labels where the networks are.
    """

    def __init__(
        self, rows: int, inputs: int, layout: Layout, space: ActionSpace, device: torch.device
    ) -> None:
        """Make rings without room.

        Args:
            rows:   P, members.
            inputs: I, columns of the widest member's inputs.
            layout: of blocks.
            space:  of actions.
            device: where the labels are kept.
        """
        self.capacity = 0
        self.written: npt.NDArray[np.int64] = np.zeros(rows, np.int64)  # where rings go on
        self.added: npt.NDArray[np.int64] = np.zeros(rows, np.int64)  # rows ever added
        self.inherited: npt.NDArray[np.int64] = np.zeros(rows, np.int64)  # of them, lived by others
        self._space, self._device = space, device
        self._raw: dict[str, Array] = {
            "state": np.zeros((rows, 0, layout.state_size), np.float32),
            "action": np.zeros((rows, 0), np.int64)
            if space.discrete
            else np.zeros((rows, 0, space.size), np.float32),
            "next": np.zeros((rows, 0, layout.size), np.float32),
            "native": np.zeros((rows, 0), np.float32),
            "terminated": np.zeros((rows, 0), np.bool_),
        }
        actions = torch.zeros(
            (rows, 0) if space.discrete else (rows, 0, space.size),
            dtype=torch.int64 if space.discrete else torch.float32,
            device=device,
        )
        self._label = Batch(
            inputs=torch.zeros(rows, 0, inputs, device=device),
            following=torch.zeros(rows, 0, inputs, device=device),
            actions=actions,
            rewards=torch.zeros(rows, 0, device=device),
            continues=torch.zeros(rows, 0, device=device),
        )

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Return how many rows every member has, [P]."""
        return np.minimum(self.written, self.capacity)

    def reserve(self, capacity: int) -> None:
        """Make room for `capacity` rows per member; the rows that are there stay, oldest first."""
        if capacity <= self.capacity:
            return
        sizes, order = self.sizes, [self._order(member) for member in range(len(self.written))]
        self._raw = {name: _grown(old, capacity, order) for name, old in self._raw.items()}
        self._label = Batch(
            *(_grown_tensor(getattr(self._label, n), capacity, order) for n in Batch.__slots__)
        )
        self.written, self.capacity = sizes, capacity

    def add(self, members: Sequence[int], rows: Transitions, label: Label) -> None:
        """Add the newest rows of some members, the oldest of them first; rings forget their oldest.

        Args:
            members: M places.
            rows:    arrays [M, R, ...]
            label:   arrays [M, R, ...]; inputs may be narrower than the widest member's.
        """
        count = rows.native.shape[1]
        skipped = max(0, count - self.capacity)
        places = np.asarray(members)[:, None]
        at = (self.written[places] + np.arange(count - skipped)) % self.capacity
        self.written[places[:, 0]] += count - skipped
        self.added[places[:, 0]] += count
        for name, ring in self._raw.items():
            ring[places, at] = getattr(rows, name)[:, skipped:]
        width = label.inputs.shape[-1]
        where = torch.from_numpy(places).to(self._device), torch.from_numpy(at).to(self._device)
        for kept, values in (
            (self._label.inputs[..., :width], label.inputs),
            (self._label.following[..., :width], label.following),
            (self._label.actions, self._inside(rows.action)),
            (self._label.rewards, label.rewards),
            (self._label.continues, 1 - rows.terminated.astype(np.float32)),
        ):
            newest = np.ascontiguousarray(values[:, skipped:])
            kept[where] = torch.from_numpy(newest).to(self._device)

    def kept(self, member: int, most: int | None = None) -> Transitions:
        """Return a member's raw rows, oldest first; the newest `most` of them."""
        order = self._order(member)
        order = order[max(0, len(order) - most) :] if most is not None else order
        return Transitions(**{name: ring[member, order] for name, ring in self._raw.items()})

    def sample(self, chance: Tensor) -> Batch:
        """Return the rows to which uniform numbers [P, B] in [0, 1) point."""
        sizes = torch.from_numpy(self.sizes).to(self._device)[:, None]
        at = (chance * sizes).long().clamp_(max=max(self.capacity - 1, 0))
        member = torch.arange(len(self.written), device=self._device)[:, None]
        return Batch(*(getattr(self._label, name)[member, at] for name in Batch.__slots__))

    def _order(self, member: int) -> npt.NDArray[np.int64]:
        """Return the places of a member's rows, oldest first."""
        written, size = int(self.written[member]), int(self.sizes[member])
        return np.arange(written - size, written, dtype=np.int64) % max(self.capacity, 1)

    def _inside(self, received: Array) -> Array:
        """Return what a policy calls the actions that the environment received."""
        if self._space.discrete:
            return received
        half = half_range(self._space)
        inside = (received - middle(self._space)) / np.where(half > 0, half, 1)
        return np.asarray(inside, np.float32)


def _grown(old: Array, capacity: int, order: list[npt.NDArray[np.int64]]) -> Array:
    new = np.zeros((len(old), capacity, *old.shape[2:]), old.dtype)
    for member, places in enumerate(order):
        new[member, : len(places)] = old[member, places]
    return new


def _grown_tensor(old: Tensor, capacity: int, order: list[npt.NDArray[np.int64]]) -> Tensor:
    shape = (len(old), capacity, *old.shape[2:])
    # NumPy's zeros take no memory before they are written to, torch's do.
    empty = np.zeros(shape, np.int64 if old.dtype == torch.int64 else np.float32)
    new = torch.from_numpy(empty).to(old.device)
    for member, places in enumerate(order):
        new[member, : len(places)] = old[member, torch.from_numpy(places).to(old.device)]
    return new
