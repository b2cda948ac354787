"""What becomes of the members of a pack, taken down from the news of their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from core.ports import PackOrder, Progress
from core.records.measured import Curve
from core.sandbox.codec import BadFrame
from core.training.effort import member_bytes, weights_bytes
from core.training.protocol import (
    Advanced,
    Begun,
    Broken,
    Done,
    MemberDone,
    MemberFailed,
    MemberSaved,
    News,
    PackSaved,
    Snapshot,
    checkpoint_steps,
)

Member: TypeAlias = tuple[str, int]  # (arm key, seed)


@dataclass(slots=True)
class Trained:
    """What the training child said of one member; feedback, never rank.

    `snapshots` are (environment steps, weights); `checkpoint` is what the next rung goes on from,
    or this one if it was cut off; `env_steps` and `seconds` are the member's share of this rung.
    """

    snapshots: list[tuple[int, bytes]] = field(default_factory=list)
    failure: str | None = None
    curve: Curve | None = None
    checkpoint: bytes | None = None
    env_steps: int = 0
    seconds: float = 0.0
    adapter: str = ""
    backend: str = ""


Halfway: TypeAlias = Mapping[Member, Trained]
"""Members of a child at the moment at which they were saved: all equally far, or failed by then."""


@dataclass(slots=True)
class Minutes:
    """The minutes of one training; `closed` once the child has said its last word.

    `begun` is what the members brought from an earlier child, by place; `saved` is what the next
    child could go on from; `broken` is the last word of a child that could not do its work.
    """

    order: PackOrder
    begun: Sequence[Trained]
    trained: list[Trained] = field(init=False)
    saved: Halfway | None = None
    closed: bool = False
    broken: Broken | None = None
    done: int = 0
    note: str = ""
    _waiting: dict[int, MemberSaved] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trained = [replace(one, snapshots=list(one.snapshots)) for one in self.begun]

    def known_steps(self) -> int:
        """Return the last step count at which weights are known from an earlier child."""
        return max((steps for one in self.begun for steps, _ in one.snapshots), default=0)

    def progress(self) -> Progress:
        """Return how far the pack has come, in environment steps of all members."""
        total = (self.order.stop_steps - self.order.start_steps) * len(self.trained)
        return Progress("training", min(self.done, total), total, self.note)

    def take(self, news: News) -> None:
        """Take one piece of news down.

        Raises:
            BadFrame: weights that nobody asked for, or more than a policy or a member may have.
        """
        match news:
            case Begun():
                self._begin(news)
            case Advanced(done, speed):
                self.done, self.note = done, f"{speed:.0f} steps/s"
            case Snapshot():
                self._keep(news)
            case MemberSaved():
                self._expect_small(news.checkpoint)
                self._waiting[news.member] = news
            case PackSaved(steps, seconds):
                self.saved = self._halfway(steps, seconds / len(self.trained))
            case MemberFailed(place, steps, reason):
                self.trained[place].failure = reason
                self._lived(place, steps)
            case MemberDone():
                self._expect_small(news.checkpoint)
                self._end(news)
            case Done(seconds):
                self._close(seconds / len(self.trained))
            case Broken():
                self.closed, self.broken = True, news

    def fallen(self, reason: str) -> dict[Member, Trained]:
        """Return what became of the members if their child fell and nobody goes on."""
        lived = self._share(self.order.start_steps + self.done // len(self.trained))
        for one in self.trained:
            if one.failure is None:
                one.failure, one.checkpoint = reason, None
                one.env_steps = max(one.env_steps, lived)
        return dict(zip(self.order.members, self.trained, strict=True))

    def _begin(self, said: Begun) -> None:
        for one in self.trained:
            one.adapter, one.backend = said.adapter, said.backend

    def _close(self, seconds: float) -> None:
        self.closed = True
        for one in self.trained:
            one.seconds += seconds

    def _keep(self, said: Snapshot) -> None:
        for place, weights in said.weights.items():
            self._keep_one(place, said.steps, weights)

    def _keep_one(self, place: int, steps: int, weights: bytes) -> None:
        kept = self.trained[place].snapshots
        wanted = checkpoint_steps(self.order)
        if steps not in wanted or (kept and steps <= kept[-1][0]):
            raise BadFrame(
                f"weights at {steps} steps", expected=f"one snapshot at each of {wanted}, in order"
            )
        if len(weights) > (most := weights_bytes(self.order)):
            raise BadFrame(f"weights of {len(weights)} bytes", expected=f"at most {most}")
        kept.append((steps, weights))

    def _expect_small(self, checkpoint: bytes) -> None:
        most = member_bytes(self.order)
        if len(checkpoint) > most:
            raise BadFrame(f"a checkpoint of {len(checkpoint)} bytes", expected=f"at most {most}")

    def _halfway(self, steps: int, seconds: float) -> Halfway:
        members = {}
        for place, member in enumerate(self.order.members):
            now = self.trained[place]
            if now.failure is None:
                now = self._saved(place, steps)
            members[member] = replace(
                now, snapshots=list(now.snapshots), seconds=now.seconds + seconds
            )
        self._waiting = {}
        return members

    def _saved(self, place: int, steps: int) -> Trained:
        said = self._waiting.get(place)
        if said is None:
            raise BadFrame(f"nothing of member {place}", expected="every living member saved")
        return replace(
            self.trained[place],
            curve=joined(self.begun[place].curve, said.curve),
            checkpoint=said.checkpoint,
            env_steps=self._share(steps),
        )

    def _end(self, said: MemberDone) -> None:
        one = self.trained[said.member]
        one.curve = joined(self.begun[said.member].curve, said.curve)
        one.checkpoint = said.checkpoint
        self._lived(said.member, said.env_steps)

    def _lived(self, place: int, steps: int) -> None:
        self.trained[place].env_steps = self._share(steps)

    def _share(self, steps: int) -> int:
        # A last rollout may go a little beyond the end; a forged count may not go further.
        length = self.order.stop_steps - self.order.start_steps
        return min(max(0, steps - self.order.start_steps), 2 * length)


def joined(before: Curve | None, after: Curve) -> Curve:
    """Put the curve of a training that was cut off before that of its continuation.

    A series that one of them lacks goes on with the nearest value that is known.
    """
    if before is None or not before.steps:
        return after
    if not after.steps:
        return before
    series = {
        name: _values(before, name, after, 0) + _values(after, name, before, -1)
        for name in dict.fromkeys((*before.series, *after.series))
    }
    return Curve(before.steps + after.steps, series)


def _values(curve: Curve, name: str, other: Curve, nearest: int) -> tuple[float, ...]:
    if name in curve.series:
        return curve.series[name]
    return (other.series[name][nearest],) * len(curve.steps)
