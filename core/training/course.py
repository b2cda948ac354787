"""The course of a training: how far its members have come, who fell out, and who hears of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.training.members import Member
from core.training.weights import Progressed

LOST = "the loss became NaN or infinite"


class Listener(Protocol):
    """Hears how a training goes."""

    def progress(self, steps: int, seconds: float) -> None:
        """After every step: environment steps of one member so far, seconds since the start."""
        ...

    def snapshot(self, steps: int, weights: Mapping[int, bytes]) -> None:
        """At each requested count: weights of the living members by place."""
        ...

    def failed(self, member: int, steps: int, reason: str) -> None:
        """A member cannot go on."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """How far to train: until `stop` steps per member, with snapshots when `snapshots` are reached.

    `total` is the last rung's last step, for annealing.  `pause` is called between rollouts, where
    checkpoints may be asked for.
    """

    stop: int
    total: int
    snapshots: tuple[int, ...] = ()
    pause: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Course:
    """Where P members stand; whatever trains them keeps it up to date.

    Attributes:
        members:    the runs, by place.
        listener:   hears of progress, snapshots and failures.
        progressed: how far every member has come.
        failures:   place -> why that member cannot go on.
    """

    members: Sequence[Member]
    listener: Listener
    progressed: Progressed
    failures: dict[int, str] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    @property
    def living(self) -> list[int]:
        """Return the places of the members that can go on."""
        return [m for m in range(len(self.members)) if m not in self.failures]

    def run(
        self, span: Span, turn: Callable[[], None], weights: Callable[[], dict[int, bytes]]
    ) -> None:
        """Take turns until `span.stop` steps per member, or until nobody can go on.

        Args:
            span:    how far.
            turn:    trains for a while and counts it.
            weights: gives those of the living members, for snapshots.
        """
        self._begun = time.monotonic()
        waiting = sorted(span.snapshots)
        self._tell_due(
            waiting, weights
        )  # whole turns: the rung before may have gone beyond this one's
        while self.progressed.steps < span.stop and self.living:
            turn()
            self._tell_due(waiting, weights)
            span.pause()

    def count(self, steps: int, rollouts: int = 1) -> None:
        """Count what every member has lived more."""
        before = self.progressed
        self.progressed = Progressed(before.steps + steps, before.rollouts + rollouts)

    def tick(self, steps: int = 0) -> None:
        """Tell how far the members are; `steps` of each are not counted yet."""
        self.listener.progress(self.progressed.steps + steps, time.monotonic() - self._begun)

    def left(self, total: int) -> float:
        """Return the share of a member's steps that is still to come, from 1 to 0."""
        return max(1.0 - self.progressed.steps / max(1, total), 0.0)

    def take_out(self, reasons: Mapping[int, str], silence: Callable[[int], None]) -> None:
        """Take members out who are not out yet; their places stay, and learn no more.

        Args:
            reasons: place -> why it cannot go on.
            silence: stills what is in a place, before anybody hears of it.
        """
        for member, reason in reasons.items():
            if member in self.failures:
                continue
            self.failures[member] = reason
            silence(member)
            self.listener.failed(member, self.progressed.steps, reason)

    def _tell_due(self, waiting: list[int], weights: Callable[[], dict[int, bytes]]) -> None:
        while waiting and self.living and waiting[0] <= self.progressed.steps:
            self.listener.snapshot(waiting.pop(0), weights())
