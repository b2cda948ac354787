"""The parent's side of one training child: its limits, and how it is watched until its last word."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.util import find_spec

from core.errors import CheckpointUnusable, EnvironmentUnusable, InvalidInput, TrainingFailed
from core.ports import PackOrder, Watch
from core.sandbox import (
    GIB,
    MIB,
    BadFrame,
    ChildDied,
    ChildFailed,
    ChildMisbehaved,
    Frame,
    Limits,
    Sandbox,
    gpu,
)
from core.sandbox.limits import NICENESS
from core.training.attending import ChildSilent, next_frame
from core.training.deadlines import Notice
from core.training.effort import (
    checkpoint_bytes,
    learning_seconds,
    recalling_seconds,
    replay_bytes,
)
from core.training.minutes import Halfway, Member, Minutes
from core.training.news import read_news
from core.training.protocol import order_message, train_order
from core.training.settings import PPOSettings, read_settings

ENTRY = "core.training.train_child:train"

HOST = "cpu"

_BROKEN = {
    kind.__name__: kind
    for kind in (EnvironmentUnusable, InvalidInput, TrainingFailed, CheckpointUnusable)
}


LEARNER_SECONDS = 0.1
"""Granted for every step of somebody else's learner: ten times what SAC with usual networks takes."""


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
    niceness         by how much a training gives way to whoever else wants its core
    """

    wall_seconds: float = 120.0
    silence_seconds: float = 60.0
    patience: float = 20.0
    step_seconds: float = 1e-3
    memory_bytes: int = 4 * GIB
    row_bytes: int = 48 * MIB
    device: str = "cpu"
    niceness: int = NICENESS

    def limits(self, order: PackOrder) -> Limits:
        """Return the limits of the child that carries out an order.

        Raises:
            InvalidInput: a setting is unknown or absurd.
        """
        length = order.stop_steps - order.start_steps
        steps = length * len(order.members) + _rollout_steps(order)  # the last may go beyond
        seconds = self.wall_seconds + steps * self.step_seconds + self._granted(order, steps)
        seconds += len(order.members) * recalling_seconds(order)
        rows = len(order.members) * order.training.envs
        return Limits(
            wall_seconds=seconds,
            cpu_seconds=math.ceil(seconds),
            memory_bytes=self.memory_bytes + rows * self.row_bytes + replay_bytes(order),
            result_bytes=max(Limits().result_bytes, checkpoint_bytes(order)),
            gpu=self.device_for(order) != HOST,
            niceness=self.niceness,
        )

    def device_for(self, order: PackOrder) -> str:
        """Return where a child is to train; what would be trained on the host anyway gets the host.

        So nobody gets the GPU's profile of the jail in vain.  "auto" means a device only for tasks that
        are simulated on it, which are those that MuJoCo's rows know.
        """
        if order.training.algorithm != "ppo" or order.learner is not None:
            return HOST
        if self.device == "auto" and not (_simulates(order.preflight.adapter) and gpu.devices()):
            return HOST
        return self.device

    def silence(self, order: PackOrder) -> float:
        """Return for how many seconds a training may say nothing.

        It speaks after each rollout, and before the first one after each member that was placed.

        Raises:
            InvalidInput: a setting is unknown or absurd.
        """
        longest = max(self._granted(order, _rollout_steps(order)), recalling_seconds(order))
        return self.silence_seconds + longest

    def _granted(self, order: PackOrder, steps: int) -> float:
        if order.learner is not None:
            return steps * LEARNER_SECONDS
        stepping = self.patience / max(order.preflight.steps_per_second, 1.0)
        return steps * (stepping + learning_seconds(order))


def _simulates(adapter: str) -> bool:
    return adapter.startswith("mujoco-") and find_spec("mujoco_warp") is not None


def _rollout_steps(order: PackOrder) -> int:
    settings = read_settings(order.training.settings, order.training.algorithm)
    steps = settings.rollout if isinstance(settings, PPOSettings) else settings.train_every
    return steps * order.training.envs * len(order.members)


@dataclass(frozen=True, slots=True)
class Watched:
    """What the parent of a training child needs.

    `saved` is called when all living members could be gone on from where they are.
    """

    sandbox: Sandbox
    supervision: Supervision
    watch: Watch
    saved: Callable[[Halfway], None]

    def run(
        self,
        minutes: Minutes,
        resume: Mapping[Member, bytes],
        stored: Mapping[str, bytes],
    ) -> None:
        """Have one child carry the order of the minutes out, and take its news down.

        Args:
            minutes: of the training; they hold what was heard whatever happens.
            resume:  the checkpoints to go on from.
            stored:  checkpoints of other runs, for replays that begin warm.

        Raises:
            InvalidInput: a setting is unknown or absurd.
            EnvironmentUnusable, TrainingFailed: the child said that no program is at fault.
            CheckpointUnusable: the child said that one of the checkpoints is.
            Fallen: the child died or fell silent.
            SandboxFailed: the sandbox itself is broken.
            StepInterrupted, ClaimLost: `watch` said so; the child is dead then.
        """
        order = minutes.order
        silence = self.supervision.silence(order)
        orders = train_order(order, resume, minutes.known_steps(), stored)
        message = order_message(replace(orders, device=self.supervision.device_for(order)))
        limits = self.supervision.limits(order)
        with closing(Notice()) as notice:
            try:
                with self.sandbox.spawn(ENTRY, limits, links=[notice.link()]) as child:
                    child.send(*message)
                    while not minutes.closed:
                        frame = next_frame(child, self.watch, minutes.progress(), silence)
                        self._take_down(frame, minutes)
            except ChildFailed as error:
                raise Fallen(error, _called(error, order, notice)) from error
        if minutes.broken is not None:
            raise _BROKEN.get(minutes.broken.error, TrainingFailed)(
                minutes.broken.reason, where="a training child"
            )

    def _take_down(self, frame: Frame, minutes: Minutes) -> None:
        before = minutes.saved
        try:
            minutes.take(read_news(frame, len(minutes.trained)))
        except BadFrame as error:
            raise ChildMisbehaved(f"it sent bad news ({error})") from error
        if minutes.saved is not None and minutes.saved is not before:
            self.saved(minutes.saved)


class Fallen(Exception):
    """A training child ended before its last word; `arm` was inside a call of its program then."""

    def __init__(self, error: ChildFailed, arm: str | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.arm = arm


def _called(error: ChildFailed, order: PackOrder, notice: Notice) -> str | None:
    # Bad frames and used up time are noticed later than they are caused: whoever is being called
    # at that moment need not have to do with it.
    if not isinstance(error, ChildDied | ChildSilent):
        return None
    arms = list(order.arms)
    place = notice.called(len(arms))
    return None if place is None else arms[place]
