"""What the members of a pack on a device train on; see `core.training.designs` for the rules.

Programs in torch are called on the device, and whether their numbers were finite is noted there and
read once per rollout, by `look`.  Programs in NumPy are called on the host: every call waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from core.errors import ProgramRejected
from core.records.kinds import Mode
from core.training.designs import LARGEST_REWARD, Designs, Rewards
from core.training.device_rollout import TensorRollout, by_member


class TensorCode(Protocol):
    """A loaded program in torch; `core.training.torch_runtime.TorchProgram` is the real one."""

    def tensor_features(self, state_block: Tensor) -> Tensor:
        """Return the extra dimensions [B, F] of states [B, ≥ state_size]."""
        ...

    def tensor_reward(
        self, state_block: Tensor, action: Tensor, next_block: Tensor
    ) -> dict[str, Tensor]:
        """Return the components [B] of transitions; none if the program has no reward."""
        ...


class DeviceDesigns(Protocol):
    """What a pack on a device asks of the programs of its members."""

    rejections: dict[int, str]
    feature_counts: list[int]

    def learn_feature_counts(self, states: Tensor) -> None:
        """Call every `features` once, on the first states [P, N, S], to see how many there are."""
        ...

    def features(self, states: Tensor) -> Tensor:
        """Return the padded features [P, B, F] of states [P, B, S]."""
        ...

    def earn(self, rollout: TensorRollout) -> Tensor:
        """Return what a rollout is worth to each member, [T, P, N]."""
        ...

    def drop(self, member: int) -> None:
        """Call a member's program no more."""
        ...

    def look(self) -> tuple[Mapping[str, float], ...]:
        """Wait for the device: note who broke, and return each member's mean components."""
        ...


def device_designs(
    rewards: Rewards, arms: Sequence[str], device: torch.device
) -> TensorDesigns | HostDesigns:
    """Return the programs for members of the given arms, in the order of their places.

    A pack has programs in one library, because its task says which.
    """
    loaded = [code for code in rewards.programs.values() if code is not None]
    if loaded and all(hasattr(code, "tensor_reward") for code in loaded):
        return TensorDesigns(rewards, arms, device)
    return HostDesigns(rewards.designs(arms), device)


class HostDesigns:
    """Programs in NumPy, or none, for a pack on a device."""

    def __init__(self, designs: Designs, device: torch.device) -> None:
        self._designs = designs
        self._device = device
        self._said: tuple[Mapping[str, float], ...] = ()
        self.rejections = designs.rejections
        self.feature_counts = designs.feature_counts

    def learn_feature_counts(self, states: Tensor) -> None:
        """Call every `features` once, on the first states [P, N, S], to see how many there are."""
        self._designs.learn_feature_counts(states.cpu().numpy())

    def features(self, states: Tensor) -> Tensor:
        """Return the padded features [P, B, F] of states [P, B, S]."""
        if not self._designs.most_features:
            return states[..., :0]
        return torch.from_numpy(self._designs.features(states.cpu().numpy())).to(self._device)

    def earn(self, rollout: TensorRollout) -> Tensor:
        """Return what a rollout is worth to each member, [T, P, N]."""
        names = ("states", "received", "following", "native")
        earned = self._designs.earn(*(getattr(rollout, name).cpu().numpy() for name in names))
        self._said = earned.components
        return torch.from_numpy(earned.rewards).to(self._device)

    def drop(self, member: int) -> None:
        """Call a member's program no more."""
        self._designs.drop(member)

    def look(self) -> tuple[Mapping[str, float], ...]:
        """Return each member's mean components of the last rollout."""
        return self._said


@dataclass(frozen=True, slots=True)
class _Said:
    """What a program told of its members in a rollout: their means and which were finite, [n, M]."""

    members: Sequence[int]
    names: tuple[str, ...]
    means: Tensor
    finite: Tensor


class TensorDesigns:
    """Programs in torch, each called once for all members that share it."""

    def __init__(self, rewards: Rewards, arms: Sequence[str], device: torch.device) -> None:
        self._programs: Mapping[str, Any] = rewards.programs
        self._mode: Mode = rewards.mode
        self._weight = rewards.weight
        self._arms = list(arms)
        self._device = device
        self._living = set(range(len(arms)))
        self._sound = torch.ones(len(arms), dtype=torch.bool, device=device)
        self._places: dict[tuple[int, ...], Tensor] = {}
        self._said: list[_Said] = []
        self.rejections: dict[int, str] = {}
        self.feature_counts = [0] * len(arms)
        for place, arm in enumerate(arms):
            if arm in rewards.rejected:
                self._reject(place, rewards.rejected[arm])

    def drop(self, member: int) -> None:
        """Call a member's program no more."""
        self._living.discard(member)

    def learn_feature_counts(self, states: Tensor) -> None:
        """Call every `features` once, on the first states [P, N, S], to see how many there are."""
        for code, members in self._working():
            for member in members:
                columns = self._alone(code, member, _features(states[member]))
                if columns is not None:
                    self.feature_counts[member] = columns.shape[1]

    def features(self, states: Tensor) -> Tensor:
        """Return the padded features [P, B, F] of states [P, B, S]; zeros where there are none."""
        most = max(self.feature_counts, default=0)
        padded = torch.zeros(*states.shape[:2], most, device=self._device)
        for code, members in self._working() if most else ():
            width = self.feature_counts[members[0]]
            if not width:
                continue
            for places, columns in self._together(code, members, _features, states):
                own = self._index(places)
                shaped = columns.view(len(places), -1, width)
                padded[:, :, :width].index_copy_(0, own, shaped)
                self._note(own, torch.isfinite(shaped).all(2).all(1))
        return padded

    def earn(self, rollout: TensorRollout) -> Tensor:
        """Return what a rollout is worth to each member, [T, P, N]."""
        blocks = [by_member(b) for b in (rollout.states, rollout.received, rollout.following)]
        rewards = by_member(rollout.native).clone()  # of a single member it is the same memory
        self._said = []
        for code, members in self._working():
            for places, terms in self._together(code, members, _reward, *blocks):
                if terms:
                    self._compose(rewards, places, terms)
        steps, members_count = len(rollout.native), len(rewards)
        return rewards.view(members_count, steps, -1).transpose(0, 1).contiguous()

    def look(self) -> tuple[Mapping[str, float], ...]:
        """Wait for the device: note who broke, and return each member's mean components."""
        components: list[Mapping[str, float]] = [{} for _ in self._arms]
        broken: dict[int, list[str]] = {}
        for said in self._said:
            means, finite = said.means.tolist(), said.finite.tolist()
            for column, member in enumerate(said.members):
                components[member] = {n: means[i][column] for i, n in enumerate(said.names)}
                bad = [n for i, n in enumerate(said.names) if not finite[i][column]]
                broken.setdefault(member, []).extend(bad)
        for member, sound in enumerate(self._sound.tolist()):
            if not sound and member in self._living:
                self._reject(member, str(_not_finite(broken.get(member, ()))))
        return tuple(components)

    def _compose(self, rewards: Tensor, places: Sequence[int], terms: Mapping[str, Tensor]) -> None:
        """Put the sum of the components of some members into rewards [P, B]."""
        own = self._index(places)
        values = torch.stack(list(terms.values())).view(len(terms), len(places), -1).double()
        total = values.sum(0)
        self._note(own, (total.abs() < LARGEST_REWARD).all(1))
        finite = torch.isfinite(values).all(2)
        self._said.append(_Said(places, tuple(terms), values.mean(2), finite))
        designed = total.float()
        if self._mode == "add":
            designed = rewards.index_select(0, own) + self._weight * designed
        rewards.index_copy_(0, own, designed)

    def _note(self, own: Tensor, sound: Tensor) -> None:
        self._sound.index_copy_(0, own, self._sound.index_select(0, own) & sound)

    def _index(self, places: Sequence[int]) -> Tensor:
        """Return places as a tensor on the device, made once: making one waits for the device."""
        key = tuple(places)
        if key not in self._places:
            self._places[key] = torch.tensor(key, dtype=torch.int64, device=self._device)
        return self._places[key]

    def _reject(self, member: int, reason: str) -> None:
        self.rejections[member] = reason
        self.drop(member)

    def _working(self) -> list[tuple[TensorCode, list[int]]]:
        """Return the programs that have members left."""
        working = []
        for arm in dict.fromkeys(self._arms):
            code = self._programs.get(arm)
            members = [m for m, own in enumerate(self._arms) if own == arm and m in self._living]
            if code is not None and members:
                working.append((code, members))
        return working

    def _together(
        self, code: TensorCode, members: list[int], call: Callable[..., Any], *blocks: Tensor
    ) -> list[tuple[list[int], Any]]:
        """Call a program for all its members at once, or one by one where that is rejected.

        A program that breaks together and holds alone is no function of its rows: nobody goes on.
        """
        try:
            return [(members, call(*(self._joined(block, members) for block in blocks))(code))]
        except ProgramRejected as error:
            together = str(error)
        if len(members) > 1:
            alone = [
                (m, self._alone(code, m, call(*(block[m] for block in blocks)))) for m in members
            ]
            sound = [([m], result) for m, result in alone if result is not None]
            if len(sound) < len(members):
                return sound
        for member in members:
            self._reject(member, together)
        return []

    def _alone(self, code: TensorCode, member: int, call: Callable[[TensorCode], Any]) -> Any:
        try:
            return call(code)
        except ProgramRejected as error:
            self._reject(member, str(error))
            return None

    def _joined(self, block: Tensor, members: list[int]) -> Tensor:
        """Take the rows of some members from [P, B, ...] as [M·B, ...]."""
        every = len(members) == len(block)
        return (block if every else block.index_select(0, self._index(members))).flatten(0, 1)


def _features(states: Tensor) -> Callable[[TensorCode], Tensor]:
    return lambda code: code.tensor_features(states)


def _reward(
    states: Tensor, action: Tensor, following: Tensor
) -> Callable[[TensorCode], dict[str, Tensor]]:
    return lambda code: code.tensor_reward(states, action, following)


def _not_finite(components: Sequence[str]) -> ProgramRejected:
    if components:
        found = f"NaN or infinity in {', '.join(repr(name) for name in components)}"
    else:
        found = f"NaN, infinity or a sum of {LARGEST_REWARD:g} and more"
    return ProgramRejected(
        found,
        rule="finite",
        expected="finite float32 numbers in every row",
        where="reward or features",
        hint="Guard divisions, logarithms, roots and exponentials, for instance with torch.clamp.",
    )
