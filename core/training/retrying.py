"""Training a pack whatever its programs do to their process.

A child that ends too early is followed by another, which goes on from the last moment at which all
living members were saved:

    an arm's program was being called   that arm's runs have failed; the others go on without it
    it was killed, by nobody we know    once, everybody goes on: the machine may have had a reason
    nobody can be blamed                every arm goes on in a child of its own

Where no program was there to do it, or where the child itself says so, the machine, the environment
or a checkpoint is at fault: that is an error of the step, and no run.  A program that forged this
word would stop its own job, and gain nothing.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field, replace

from core.errors import StorageFailed, TrainingFailed
from core.ports import Artifacts, PackOrder, Progress, Save, Watch, save_nothing
from core.sandbox import ChildDied, ChildFailed, Sandbox
from core.training.attending import Attended
from core.training.blame import clean
from core.training.minutes import Halfway, Member, Minutes, Trained
from core.training.protocol import SAVE_SECONDS
from core.training.saving import note, recall
from core.training.supervising import Fallen, Supervision, Watched

TAIL_LETTERS = 400


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
        EnvironmentUnusable, TrainingFailed: the machine, the environment or a checkpoint is at fault,
            or the child of the native reward died.
        SandboxFailed: the sandbox itself is broken.
        StepInterrupted, ClaimLost: `watch` or `save` said so; the child is dead then.
    """
    attended = Attended(artifacts, watch, _progress(order, order.start_steps, "reading"))
    shop = Workshop(sandbox, attended, order, supervision, watch, save)
    return shop.train(order, recall(order, attended))


@dataclass(slots=True)
class Workshop:
    """Trains the members of one order, in as many children as it takes.

    Attributes:
        whole:   the order as it came.
        settled: members that failed and are not trained any more.
        spared:  whether a child was killed by nobody we know.
    """

    sandbox: Sandbox
    artifacts: Attended
    whole: PackOrder
    supervision: Supervision
    watch: Watch
    save: Save
    settled: dict[Member, Trained] = field(default_factory=dict)
    spared: bool = False
    _saved_at: float = field(default_factory=time.monotonic)

    def train(self, order: PackOrder, halfway: Halfway | None) -> dict[Member, Trained]:
        """Train members from a moment at which they were saved, or from the rung's beginning."""
        order = self._settle(order, halfway)
        if not order.members:
            return dict(self.settled)
        begun = [_at(halfway, member) for member in order.members]
        minutes = Minutes(order, begun)
        watched = Watched(self.sandbox, self.supervision, self.watch, self._keep)
        known_steps = 0 if halfway is None else halfway.steps
        try:
            resume = self._checkpoints(order, begun)
            watched.run(minutes, resume, known_steps, self._stored(order))
        except Fallen as fallen:
            return self._go_on(order, minutes.saved or halfway, fallen)
        found = dict(zip(order.members, minutes.trained, strict=True))
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._keep(Halfway(minutes.reached, found))  # measuring may take long as well
        return self.settled | found

    def _settle(self, order: PackOrder, halfway: Halfway | None) -> PackOrder:
        """Put those aside who had failed before they were saved."""
        known = {} if halfway is None else halfway.members
        self.settled |= {m: one for m, one in known.items() if one.failure is not None}
        return _only(order, [m for m in order.members if m not in self.settled])

    def _go_on(
        self, order: PackOrder, halfway: Halfway | None, fallen: Fallen
    ) -> dict[Member, Trained]:
        if _killed_by_nobody_we_know(fallen.error) and not self.spared:
            self.spared = True
            return self.train(order, halfway)
        arm = next(iter(order.arms)) if len(order.arms) == 1 else fallen.arm
        if arm is None:
            return self._each_alone(order, halfway)
        if order.arms[arm].program is None:
            raise TrainingFailed(_reason(fallen.error), where="native reward") from fallen
        for member in (m for m in order.members if m[0] == arm):
            known = _at(halfway, member)
            self.settled[member] = replace(known, checkpoint=None, failure=_reason(fallen.error))
        return self.train(order, halfway)

    def _each_alone(self, order: PackOrder, halfway: Halfway | None) -> dict[Member, Trained]:
        # Arms that are not equally far cannot be saved together: what was saved before stands.
        alone = replace(self, save=save_nothing, settled=dict(self.settled))
        found: dict[Member, Trained] = {}
        for arm in order.arms:
            own = _only(order, [member for member in order.members if member[0] == arm])
            found |= alone.train(own, halfway)
        return found

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
        self._saved_at = time.monotonic()
        if self.save is save_nothing:
            return
        self.artifacts.progress = _progress(self.whole, halfway.steps, "saving")
        everybody = Halfway(halfway.steps, {**self.settled, **halfway.members})
        try:
            self.save(note(self.whole, everybody, self.artifacts))
        except StorageFailed:
            return  # nothing is lost yet; `watch` ends the step if the database stays away


def _progress(order: PackOrder, steps: int, note: str) -> Progress:
    length, members = order.stop_steps - order.start_steps, len(order.members)
    done = min(max(0, steps - order.start_steps), length)
    return Progress("training", done * members, length * members, note)


def _at(halfway: Halfway | None, member: Member) -> Trained:
    return Trained() if halfway is None else halfway.members[member]


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
