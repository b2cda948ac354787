"""What the members of a pack train on: programs, each called once for all members that share it.

A program that breaks takes its own members down and nobody else: if a shared call is rejected, each
of its members is called alone, and those whose own rows break the contract are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core.errors import ProgramRejected
from core.fields import Floats
from core.records.kinds import Mode
from core.training.blocks import by_member

LARGEST_REWARD = 1e30
"""Beyond it, statistics of rewards overflow."""


class Code(Protocol):
    """A loaded program; `core.training.runtime.LoadedProgram` is the real one."""

    feature_names: tuple[str, ...]
    component_names: tuple[str, ...]

    def features(self, state_block: Floats) -> Floats:
        """Return the extra dimensions [B, F] of states [B, ≥ state_size]."""
        ...

    def components(
        self, state_block: Floats, action: npt.NDArray[Any], next_block: Floats
    ) -> Floats:
        """Return the components of transitions, [C, B] in the order of their names.

        C is 0 if the program has no reward.
        """
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """A program (None: the native reward) and the places of the members that train on it."""

    code: Code | None
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Earned:
    """What the members earned in a rollout.

    Attributes:
        rewards:    [T, P, N] what they are trained on.
        components: per member, name -> mean per step.
    """

    rewards: Floats
    components: tuple[Mapping[str, float], ...]


class Designs:
    """The programs of a pack, called on whole blocks of rows in member-major order.

    `rejections` collects, by member, why a program broke; the pack looks there after every call.
    """

    def __init__(self, groups: Sequence[Group], members: int, mode: Mode, weight: float) -> None:
        self._groups = list(groups)
        self._members = members
        self._mode = mode
        self._weight = weight
        self.rejections: dict[int, str] = {}
        self._living = np.ones(members, np.bool_)
        self.feature_counts = [0] * members

    @property
    def most_features(self) -> int:
        """Return the width to which features are padded."""
        return max(self.feature_counts, default=0)

    def reject(self, member: int, reason: str) -> None:
        """Note why a member's program broke, and call it no more."""
        self.rejections[member] = reason
        self.drop(member)

    def drop(self, member: int) -> None:
        """Call a member's program no more."""
        self._living[member] = False

    def learn_feature_counts(self, states: Floats) -> None:
        """Call every `features` once, on the first states [P, N, S], to see how many there are."""
        for code, members in self._working():
            for member in members:
                columns = self._alone(code, member, _features_of, states[member])
                if columns is not None:
                    self.feature_counts[member] = columns.shape[1]

    def features(self, states: Floats) -> Floats:
        """Return the padded features [P, B, F] of states [P, B, S]; zeros where there are none."""
        padded = np.zeros((*states.shape[:2], self.most_features), np.float32)
        if not self.most_features:
            return padded
        for code, members in self._working():
            width = self.feature_counts[members[0]]
            if not width:
                continue
            for places, columns in self._together(code, members, _features_of, states):
                padded[places, :, :width] = columns.reshape(len(places), -1, width)
        return padded

    def earn(
        self, states: Floats, actions: npt.NDArray[Any], following: Floats, native: Floats
    ) -> Earned:
        """Compute what a rollout is worth to each member.

        Args:
            states:    [T, P, N, S] present state blocks.
            actions:   int64 [T, P, N] or float32 [T, P, N, A], choices counted from 0.
            following: [T, P, N, C] blocks of the states reached, before any reset.
            native:    [T, P, N] the environment's own reward.
        """
        blocks = [by_member(block) for block in (states, actions, following)]
        components: list[Mapping[str, float]] = [{} for _ in range(self._members)]
        totals = np.zeros(blocks[0].shape[:2])
        designed: list[int] = []
        for code, members in self._working():
            for places, found in self._together(code, members, _components_of, *blocks):
                if not len(found):
                    continue
                wide = found.reshape(len(found), len(places), -1).astype(np.float64)
                totals[_rows(places)] = np.add.reduce(wide, axis=0)
                designed += places
                means = np.add.reduce(wide, axis=2) / wide.shape[2]
                for place, own in zip(places, means.T.tolist(), strict=True):
                    components[place] = dict(zip(code.component_names, own, strict=True))
        self._hold_small(totals)
        return Earned(self._composed(native, totals, designed), tuple(components))

    def _hold_small(self, totals: npt.NDArray[np.float64]) -> None:
        """Take out members whose sums of components [P, B] overflow; they go on with zeros."""
        largest = np.maximum(totals.max(axis=1), -totals.min(axis=1))
        for member in np.flatnonzero(~(largest < LARGEST_REWARD)).tolist():
            error = ProgramRejected(
                f"{largest[member]:.3g}",
                rule="runtime",
                expected=f"a sum of components below {LARGEST_REWARD:g}",
                where="reward",
                hint="Scale the components down.",
            )
            self.reject(member, str(error))
            totals[member] = 0.0

    def _composed(
        self, native: Floats, totals: npt.NDArray[np.float64], designed: list[int]
    ) -> Floats:
        """Return native rewards [T, P, N], for some members with what was designed [P, T·N]."""
        own = np.empty(native.shape, np.float32)
        own.swapaxes(0, 1)[...] = totals.reshape(self._members, len(native), -1)
        if self._mode == "add":
            own = np.asarray(native + self._weight * own, np.float32)
        if len(designed) == self._members:
            return own
        rewards = native.copy()
        rewards[:, designed] = own[:, designed]
        return rewards

    def _working(self) -> list[tuple[Code, list[int]]]:
        """Return the programs that have members left."""
        working = []
        for group in self._groups:
            members = [m for m in group.members if self._living[m]]
            if group.code is not None and members:
                working.append((group.code, members))
        return working

    def _together(
        self, code: Code, members: list[int], call: Callable[..., Any], *blocks: npt.NDArray[Any]
    ) -> list[tuple[list[int], Any]]:
        """Call a program for all its members at once, or one by one where that is rejected.

        A program that breaks together and holds alone is no function of its rows: nobody goes on.
        """
        try:
            rows = _rows(members)
            return [(members, call(code, *[_joined(block[rows]) for block in blocks]))]
        except ProgramRejected as error:
            together = str(error)
        if len(members) > 1:
            alone = [
                (m, self._alone(code, m, call, *(block[m] for block in blocks))) for m in members
            ]
            sound = [([m], result) for m, result in alone if result is not None]
            if len(sound) < len(members):
                return sound
        for member in members:
            self.reject(member, together)
        return []

    def _alone(
        self, code: Code, member: int, call: Callable[..., Any], *blocks: npt.NDArray[Any]
    ) -> Any:
        try:
            return call(code, *blocks)
        except ProgramRejected as error:
            self.reject(member, str(error))
            return None


@dataclass(frozen=True, slots=True)
class Rewards:
    """What the members of a pack are trained on.

    Attributes:
        programs: arm -> its program; None for the native reward.
        rejected: arm -> why its program could not even be loaded; its members are taken out.
        mode:     "replace" or "add": whether the designed reward replaces the native one.
        weight:   of the designed reward in mode "add".
    """

    programs: Mapping[str, Code | None]
    rejected: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "replace"
    weight: float = 1.0

    def designs(self, arms: Sequence[str]) -> Designs:
        """Return the programs for members of the given arms, in the order of their places."""
        groups = [
            Group(self.programs.get(arm), tuple(i for i, own in enumerate(arms) if own == arm))
            for arm in dict.fromkeys(arms)
        ]
        designs = Designs(groups, len(arms), self.mode, self.weight)
        for place, arm in enumerate(arms):
            if arm in self.rejected:
                designs.reject(place, self.rejected[arm])
        return designs


def _features_of(code: Code, states: Floats) -> Floats:
    return code.features(states)


def _components_of(
    code: Code, states: Floats, actions: npt.NDArray[Any], following: Floats
) -> Floats:
    return code.components(states, actions, following)


def _rows(members: list[int]) -> slice | list[int]:
    """Return the index of some members' places: for neighbours a slice, which copies nothing."""
    first, last = members[0], members[-1]
    return slice(first, last + 1) if last - first == len(members) - 1 else members


def _joined(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Lay the rows [M, B, ...] of some members end to end, [M·B, ...]."""
    return block.reshape(-1, *block.shape[2:])
