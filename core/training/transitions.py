"""Transitions as arrays and as safetensors bytes: probe sets, and what the scorer recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from core.fields import Floats
from core.training.runtime import Actions


@dataclass(frozen=True, slots=True)
class Transitions:
    """N transitions in the order in which they were lived.

    Attributes:
        state:      [N, state_size]
        action:     int64 [N] counted from 0, or float32 [N, A] as the environment received it
        next:       [N, size]
        native:     [N]
        terminated: bool [N]
    """

    state: Floats
    action: Actions
    next: Floats
    native: Floats
    terminated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.state)

    @property
    def row_bytes(self) -> int:
        """Return how much memory one row takes."""
        return sum(getattr(self, name)[:1].nbytes for name in Transitions.__slots__)

    def take(self, rows: Any) -> Transitions:
        """Return the chosen rows; `rows` is an index array or a slice."""
        return Transitions(*(getattr(self, name)[rows] for name in Transitions.__slots__))


@dataclass(frozen=True, slots=True)
class Recording:
    """Whole episodes of an arm's last policies; the beginning of one if none is short enough.

    Attributes:
        transitions: [N], episode after episode.
        episode:     int64 [N], to which episode a row belongs.
        fitness:     float64 [E], each episode's fitness.
    """

    transitions: Transitions
    episode: npt.NDArray[np.int64]
    fitness: npt.NDArray[np.float64]

    def spans(self) -> tuple[slice, ...]:
        """Return where each episode lies [E]; looked for once, not once per episode."""
        ends = np.cumsum(np.bincount(self.episode, minlength=len(self.fitness))).tolist()
        return tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False))


def joined(parts: Sequence[Transitions]) -> Transitions:
    """Return the rows of all parts, one part after the other."""
    return Transitions(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in Transitions.__slots__)
    )


def repeated(transitions: Transitions, rows: int) -> Transitions:
    """Return exactly `rows` transitions: the first ones, or all of them again and again."""
    return transitions.take(np.arange(rows) % len(transitions))


def save_transitions(transitions: Transitions) -> bytes:
    """Return the transitions as safetensors bytes, one tensor per attribute."""
    return as_safetensors(_tensors(transitions))


def load_transitions(content: bytes) -> Transitions:
    """Read what `save_transitions` wrote."""
    return _transitions(load(content))


def save_recording(recording: Recording) -> bytes:
    """Return a recording as safetensors bytes."""
    extra = {"episode": recording.episode, "fitness": recording.fitness}
    return as_safetensors(_tensors(recording.transitions) | extra)


def load_recording(content: bytes) -> Recording:
    """Read what `save_recording` wrote."""
    tensors = load(content)
    return Recording(_transitions(tensors), tensors["episode"], tensors["fitness"])


def save_evidence(transitions: Transitions, components: Mapping[str, Floats]) -> bytes:
    """Return transitions with the value of every component, tensors `component.<name>` [N].

    They are what a downloaded program is compared with.
    """
    tensors = _tensors(transitions)
    kept = {name: tensors[name] for name in ("state", "action", "next")}
    return as_safetensors(
        kept | {f"component.{name}": values for name, values in components.items()}
    )


def _tensors(transitions: Transitions) -> dict[str, npt.NDArray[Any]]:
    return {name: getattr(transitions, name) for name in Transitions.__slots__}


def _transitions(tensors: Mapping[str, npt.NDArray[Any]]) -> Transitions:
    return Transitions(**{name: tensors[name] for name in Transitions.__slots__})


def as_safetensors(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays by name as safetensors bytes."""
    content: bytes = save({name: np.ascontiguousarray(t) for name, t in tensors.items()})
    return content
