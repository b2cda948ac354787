"""The parent's side of a training: one child per pack, watched until its last word."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from core.errors import TrainingFailed
from core.ports import Artifacts, PackOrder, Watch
from core.sandbox import (
    GIB,
    MIB,
    BadFrame,
    ChildFailed,
    ChildMisbehaved,
    Frame,
    Limits,
    Sandbox,
)
from core.training.attending import next_frame
from core.training.blame import clean
from core.training.effort import learning_seconds
from core.training.minutes import Member, Minutes, Trained
from core.training.news import read_news
from core.training.protocol import order_message, train_order
from core.training.settings import read_settings

ENTRY = "core.training.train_child:train"
TAIL_LETTERS = 400


@dataclass(frozen=True, slots=True)
class Supervision:
    """How long and how much a training may take.

    wall_seconds     for start and end, whatever the number of steps
    silence_seconds  between two pieces of news, beyond the time of one rollout
    patience         how many times the time of pure stepping is granted
    step_seconds     granted for every step of a member besides, whatever the learner
    memory_bytes     private memory of the child
    row_bytes        the same for each environment; simulators reserve more than they use
    device           where packs are trained, as `core.training.devices.pick_device` reads it
    """

    wall_seconds: float = 120.0
    silence_seconds: float = 60.0
    patience: float = 20.0
    step_seconds: float = 1e-3
    memory_bytes: int = 4 * GIB
    row_bytes: int = 48 * MIB
    device: str = "cpu"

    def limits(self, order: PackOrder) -> Limits:
        """Return the limits of the child that carries out an order.

        Raises:
            InvalidInput: a setting is unknown or absurd.
        """
        length = order.stop_steps - order.start_steps
        steps = length * len(order.members) + _rollout_steps(order)  # the last may go beyond
        seconds = self.wall_seconds + steps * self.step_seconds + self._granted(order, steps)
        rows = len(order.members) * order.training.envs
        return Limits(
            wall_seconds=seconds,
            cpu_seconds=math.ceil(seconds),
            memory_bytes=self.memory_bytes + rows * self.row_bytes,
            gpu=self.device != "cpu",
        )

    def silence(self, order: PackOrder) -> float:
        """Return for how many seconds a training may say nothing; it speaks after each rollout.

        Raises:
            InvalidInput: a setting is unknown or absurd.
        """
        return self.silence_seconds + self._granted(order, _rollout_steps(order))

    def _granted(self, order: PackOrder, steps: int) -> float:
        stepping = self.patience / max(order.preflight.steps_per_second, 1.0)
        return steps * (stepping + learning_seconds(order))


def _rollout_steps(order: PackOrder) -> int:
    rollout = read_settings(order.training.settings).rollout
    return rollout * order.training.envs * len(order.members)


def train_pack(
    sandbox: Sandbox,
    artifacts: Artifacts,
    order: PackOrder,
    supervision: Supervision,
    watch: Watch,
) -> dict[Member, Trained]:
    """Train all members of an order and return what became of each.

    If the child dies or gives up, every arm is trained once more in a child of its own, so that a
    program that takes its process down loses its own runs only.  Where no program was there to do
    that, the machine or the environment is at fault.

    Raises:
        InvalidInput: a setting is unknown or absurd.
        TrainingFailed: the child of the native reward died or gave up.
        SandboxFailed: the sandbox itself is broken.
        StepInterrupted, ClaimLost: `watch` said so; the child is dead then.
    """
    try:
        return _train(sandbox, artifacts, order, supervision, watch)
    except ChildFailed as error:
        arms = list(dict.fromkeys(arm for arm, _ in order.members))
        if len(arms) == 1:
            if order.arms[arms[0]].program is None:
                raise TrainingFailed(_reason(error), where="native reward") from error
            return {member: Trained(failure=_reason(error)) for member in order.members}
    alone: dict[Member, Trained] = {}
    for arm in arms:
        alone |= train_pack(sandbox, artifacts, _only(order, arm), supervision, watch)
    return alone


def _train(
    sandbox: Sandbox,
    artifacts: Artifacts,
    order: PackOrder,
    supervision: Supervision,
    watch: Watch,
) -> dict[Member, Trained]:
    checkpoints = {m: artifacts.get(sha) for m, sha in order.resume.items() if m in order.members}
    orders = replace(train_order(order, checkpoints), device=supervision.device)
    silence = supervision.silence(order)
    header, blobs = order_message(orders)
    minutes = Minutes(order, [Trained() for _ in order.members])
    with sandbox.spawn(ENTRY, supervision.limits(order)) as child:
        child.send(header, blobs)
        while not minutes.closed:
            _take_down(next_frame(child, watch, minutes.progress(), silence), minutes)
    if minutes.broken is not None:
        raise ChildFailed(minutes.broken)
    return dict(zip(order.members, minutes.trained, strict=True))


def _take_down(frame: Frame, minutes: Minutes) -> None:
    try:
        minutes.take(read_news(frame, len(minutes.trained)))
    except BadFrame as error:
        raise ChildMisbehaved(f"it sent bad news ({error})") from error


def _only(order: PackOrder, arm: str) -> PackOrder:
    members = tuple(member for member in order.members if member[0] == arm)
    return replace(order, members=members, arms={arm: order.arms[arm]})


def _reason(error: ChildFailed) -> str:
    tail = "" if error.exit is None else error.exit.stderr_tail.strip()[-TAIL_LETTERS:]
    return clean(f"The training ended early: {error.found}. {tail}".strip(), 1200)
