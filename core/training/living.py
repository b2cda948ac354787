"""What the members of an off-policy pack live in a turn: some steps of every environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs import EnvBatch
from core.fields import Floats
from core.training.blocks import by_member
from core.training.transitions import Transitions


@dataclass(frozen=True, slots=True)
class Lived:
    """What T steps of P members in N environments each gave, [T, P, N, ...]."""

    transitions: Transitions
    truncated: npt.NDArray[np.bool_]

    @property
    def native(self) -> Floats:
        """Return the environment's own rewards."""
        return self.transitions.native

    @property
    def terminated(self) -> npt.NDArray[np.bool_]:
        """Return where episodes ended by the environment's own rule."""
        return self.transitions.terminated

    @property
    def ended(self) -> npt.NDArray[np.bool_]:
        """Return where episodes ended, for whatever reason."""
        return self.terminated | self.truncated

    def rows(self) -> Transitions:
        """Return each member's transitions [P, T·N, ...], the oldest first."""
        return _each(self.transitions, by_member)


def live(
    batch: EnvBatch,
    state: Floats,
    act: Callable[[Floats, int], npt.NDArray[Any]],
    steps: int,
    members: int,
) -> tuple[Lived, Floats]:
    """Let all members act for some steps.

    Args:
        batch:   P·N rows, member-major.
        state:   [P·N, S] the present state block.
        act:     gives, for states [P, N, S] and the step's number in this turn, the actions as the
                 environment receives them, [P, N, ...].
        steps:   T
        members: P

    Returns:
        what was lived, and the state block to go on from.
    """
    shape = (members, batch.rows // members)
    parts: list[Transitions] = []
    truncated: list[npt.NDArray[np.bool_]] = []
    for t in range(steps):
        states = state.reshape(*shape, -1)
        action = act(states, t)
        step = batch.step(action.reshape(-1, *action.shape[2:]))
        following = step.next_block.reshape(*shape, -1)
        native, terminated = step.native.reshape(shape), step.terminated.reshape(shape)
        parts.append(Transitions(states, action, following, native, terminated))
        truncated.append(step.truncated.reshape(shape))
        state = step.state
    together = (np.stack([getattr(p, name) for p in parts]) for name in Transitions.__slots__)
    return Lived(Transitions(*together), np.stack(truncated)), state


def shared(rows: Transitions, living: Sequence[int]) -> Transitions:
    """Give every member the rows of all living ones: [P, R, ...] becomes [P, L·R, ...]."""

    def everybody(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
        pool = block[list(living)].reshape(-1, *block.shape[2:])
        return np.broadcast_to(pool, (len(block), *pool.shape))

    return _each(rows, everybody)


def _each(rows: Transitions, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Transitions:
    return Transitions(*(change(getattr(rows, name)) for name in Transitions.__slots__))
