"""Training a pack whatever its programs do to their process.

A child that ends too early is followed by others, which go on from the last moment at which all
living members were saved:

    it was killed, by nobody we know    once, everybody goes on: the machine may have had a reason
    an arm's program was being called   that arm goes on in a child of its own, and then the others
                                        together in another
    nobody can be blamed                every arm goes on in a child of its own
    a checkpoint is none                every arm goes on in a child of its own
    it had a single arm                 that arm's runs have failed

Where no program was there to do it, or where the child itself says so, the machine or the environment
is at fault: that is an error of the step, and no run.  A program that forged this word would stop its
own job, and gain nothing.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.errors import CheckpointUnusable, StorageFailed, TrainingFailed
from core.ports import Artifacts, PackOrder, Progress, Save, Watch, save_nothing
from core.sandbox import ChildDied, ChildFailed, Sandbox
from core.training.attending import Attended
from core.training.blame import clean
from core.training.minutes import Halfway, Member, Minutes, Trained
from core.training.protocol import SAVE_SECONDS
from core.training.saving import note, recall
from core.training.supervising import Fallen, Supervision, Watched

TAIL_LETTERS = 400
SOONEST_SECONDS = SAVE_SECONDS / 2
"""Between two writings of what was saved: a child that says so all the time would fill the disk.

An honest one keeps twice this pace, of which a busy machine may swallow some.
"""


def train_pack(
    sandbox: Sandbox,
    artifacts: Artifacts,
    order: PackOrder,
    supervision: Supervision,
    watch: Watch,
    save: Save = save_nothing,
) -> dict[Member, Trained]:
    """Train all members of an order and return what became of each.

    Args:
        sandbox:     where children come from.
        artifacts:   where checkpoints lie, and are put.
        order:       what to train, and from where.
        supervision: deadlines and memory.
        watch:       called about twice a second, also while checkpoints are read and written.
        save:        told now and then what a later attempt could go on from.

    Raises:
        InvalidInput: a setting is unknown or absurd.
        EnvironmentUnusable, TrainingFailed: the machine or the environment is at fault, or the child
            of the native reward died.
        SandboxFailed: the sandbox itself is broken.
        StepInterrupted, ClaimLost: `watch` or `save` said so; the child is dead then.
    """
    attended = Attended(artifacts, watch, _progress(order, {}, "reading"))
    known = recall(order, attended)
    shop = Workshop(sandbox, attended, order, supervision, watch, save, known)
    shop.train(order.members)
    return {member: shop.state(member) for member in order.members}


@dataclass(slots=True)
class Workshop:
    """Trains the members of one order, in as many children as it takes.

    Attributes:
        whole:  the order as it came.
        known:  what became of its members so far, as last saved or at their end; members that are
                missing are at the beginning of the rung.
        spared: whether a child was killed by nobody we know.
    """

    sandbox: Sandbox
    artifacts: Attended
    whole: PackOrder
    supervision: Supervision
    watch: Watch
    save: Save
    known: dict[Member, Trained]
    spared: bool = False
    _saved_at: float = field(default_factory=time.monotonic)

    def state(self, member: Member) -> Trained:
        """Return what is known of a member."""
        return self.known.get(member, Trained())

    def train(self, members: Sequence[Member]) -> None:
        """Bring members to the end of the rung; those that are equally far share a child."""
        groups: dict[int, list[Member]] = {}
        for member in members:
            one = self.state(member)
            if one.failure is None:
                groups.setdefault(one.env_steps, []).append(member)
        for group in groups.values():
            self._train_together(_only(self.whole, group))

    def _train_together(self, order: PackOrder) -> None:
        begun = [self.state(member) for member in order.members]
        minutes = Minutes(order, begun)
        watched = Watched(self.sandbox, self.supervision, self.watch, self._keep)
        try:
            watched.run(minutes, self._checkpoints(order, begun), self._stored(order))
        except Fallen as fallen:
            self._go_on(minutes, fallen)
            return
        except CheckpointUnusable as error:
            self._go_on_alone(minutes, error)
            return
        found = dict(zip(order.members, minutes.trained, strict=True))
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._keep(found)  # measuring may take long as well
        self.known |= found

    def _go_on(self, minutes: Minutes, fallen: Fallen) -> None:
        order = minutes.order
        if _killed_by_nobody_we_know(fallen.error) and not self.spared:
            self.spared = True
            self.train(order.members)
        elif len(order.arms) == 1:
            self._give_up(minutes, _reason(fallen.error), fallen)
        else:
            suspects = order.arms if fallen.arm is None else [fallen.arm]
            for arm in suspects:
                self.train([member for member in order.members if member[0] == arm])
            self.train([member for member in order.members if member[0] not in suspects])

    def _go_on_alone(self, minutes: Minutes, error: CheckpointUnusable) -> None:
        """Find out whose checkpoint it was that a child could not use: theirs alone have failed."""
        order = minutes.order
        if len(order.arms) == 1:
            self._give_up(minutes, clean(str(error), 1200), error)
            return
        for arm in order.arms:
            self.train([member for member in order.members if member[0] == arm])

    def _give_up(self, minutes: Minutes, reason: str, cause: Exception) -> None:
        """Note that the runs of an arm have failed.

        Raises:
            TrainingFailed: it was that of the native reward.
        """
        if any(arm.program is None for arm in minutes.order.arms.values()):
            raise TrainingFailed(reason, where="native reward") from cause
        self.known |= minutes.fallen(reason)

    def _checkpoints(self, order: PackOrder, begun: list[Trained]) -> dict[Member, bytes]:
        found = {}
        for member, one in zip(order.members, begun, strict=True):
            if one.checkpoint is not None:
                found[member] = one.checkpoint
            elif member in order.resume:
                found[member] = self.artifacts.get(order.resume[member])
        return found

    def _stored(self, order: PackOrder) -> dict[str, bytes]:
        wanted = {sha for member in order.members for sha in order.warm.get(member, ())}
        return {sha: self.artifacts.get(sha) for sha in sorted(wanted)}

    def _keep(self, halfway: Halfway) -> None:
        self.known |= halfway
        now = time.monotonic()
        if self.save is save_nothing or now - self._saved_at < SOONEST_SECONDS:
            return
        self._saved_at = now
        self.artifacts.progress = _progress(self.whole, self.known, "saving")
        try:
            self.save(note(self.whole, self.known, self.artifacts))
        except StorageFailed:
            return  # nothing is lost yet; `watch` ends the step if the database stays away


def _progress(order: PackOrder, known: Mapping[Member, Trained], note: str) -> Progress:
    length = order.stop_steps - order.start_steps
    done = sum(min(one.env_steps, length) for one in known.values())
    return Progress("training", done, length * len(order.members), note)


def _only(order: PackOrder, members: list[Member]) -> PackOrder:
    arms = {arm: order.arms[arm] for arm in order.arms if any(m[0] == arm for m in members)}
    return replace(order, members=tuple(members), arms=arms)


def _killed_by_nobody_we_know(error: ChildFailed) -> bool:
    if not isinstance(error, ChildDied) or error.exit is None:
        return False
    return error.exit.signal == signal.SIGKILL


def _reason(error: ChildFailed) -> str:
    tail = "" if error.exit is None else error.exit.stderr_tail.strip()[-TAIL_LETTERS:]
    return clean(f"The training ended early: {error.found}. {tail}".strip(), 1200)
