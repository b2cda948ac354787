"""What becomes of the members of a pack, taken down from the news of their training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from core.ports import PackOrder, Progress
from core.records import Curve
from core.sandbox.codec import BadFrame
from core.training.numpy_policy import MOST_BYTES
from core.training.protocol import (
    Advanced,
    Broken,
    Done,
    MemberDone,
    MemberFailed,
    News,
    Snapshot,
    checkpoint_steps,
)

Member: TypeAlias = tuple[str, int]  # (arm key, seed)


@dataclass(slots=True)
class Trained:
    """What the training child said of one member; feedback, never rank.

    `snapshots` are (environment steps, weights); `checkpoint` is what the next rung goes on from;
    `env_steps` and `seconds` are the member's share of this rung.
    """

    snapshots: list[tuple[int, bytes]] = field(default_factory=list)
    failure: str | None = None
    curve: Curve | None = None
    checkpoint: bytes | None = None
    env_steps: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Minutes:
    """The minutes of one training; `closed` once the child has said its last word."""

    order: PackOrder
    trained: list[Trained]
    closed: bool = False
    broken: str | None = None
    done: int = 0
    note: str = ""

    def progress(self) -> Progress:
        """Return how far the pack has come, in environment steps of all members."""
        total = (self.order.stop_steps - self.order.start_steps) * len(self.trained)
        return Progress("training", min(self.done, total), total, self.note)

    def take(self, news: News) -> None:
        """Take one piece of news down.

        Raises:
            BadFrame: weights that nobody asked for, or more than a policy may have.
        """
        match news:
            case Advanced(done, speed):
                self.done, self.note = done, f"{speed:.0f} steps/s"
            case Snapshot(steps, weights):
                for place, content in weights.items():
                    self._keep(place, steps, content)
            case MemberFailed(place, steps, reason):
                self.trained[place].failure = reason
                self._lived(place, steps)
            case MemberDone(place, steps, curve, checkpoint):
                self.trained[place].curve = curve
                self.trained[place].checkpoint = checkpoint
                self._lived(place, steps)
            case Done(seconds):
                self.closed = True
                for one in self.trained:
                    one.seconds = seconds / len(self.trained)
            case Broken(error, reason):
                self.closed, self.broken = True, f"{error}: {reason}"

    def _keep(self, place: int, steps: int, weights: bytes) -> None:
        kept = self.trained[place].snapshots
        wanted = checkpoint_steps(self.order)
        if steps not in wanted or (kept and steps <= kept[-1][0]):
            raise BadFrame(
                f"weights at {steps} steps", expected=f"one snapshot at each of {wanted}, in order"
            )
        if len(weights) > MOST_BYTES:
            raise BadFrame(f"weights of {len(weights)} bytes", expected=f"at most {MOST_BYTES}")
        kept.append((steps, weights))

    def _lived(self, place: int, steps: int) -> None:
        # A last rollout may go a little beyond the end; a forged count may not go further.
        length = self.order.stop_steps - self.order.start_steps
        self.trained[place].env_steps = min(max(0, steps - self.order.start_steps), 2 * length)
