"""The training of an off-policy pack: act, store raw transitions, label them, learn from minibatches.

Outwardly it is what `core.training.pack.Pack` is for PPO.  A turn is `train_every` steps of every
environment and the updates that are due for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.envs import EnvBatch
from core.fields import Floats
from core.records.measured import Curve
from core.training.action_space import ActionSpace, read_action_space
from core.training.chances import Chances
from core.training.course import Course, Listener, Span
from core.training.curves import CurveKeeper
from core.training.designs import Rewards
from core.training.groups import new_learner
from core.training.living import live
from core.training.members import Member, started
from core.training.memory import Memory
from core.training.normalise import RunningMoments
from core.training.notes import STEPS_PER_POINT, Notes
from core.training.off_policy_files import (
    export_member,
    export_policy,
    fitting_rows,
    import_member,
    transitions_of,
)
from core.training.replay import Replay
from core.training.rollout import received
from core.training.settings import DQNSettings, SACSettings, check_algorithm
from core.training.stacked import Learner, Said
from core.training.streams import Purpose, environment_seeds, stream
from core.training.transitions import joined
from core.training.weights import Progressed

_CHUNK = 64  # steps, and updates, whose chance is drawn at once


@dataclass(slots=True)
class OffPolicyPack:
    """P members in training.  Make one with `new_off_policy_pack`, then train, then ask."""

    course: Course
    batch: EnvBatch
    settings: SACSettings | DQNSettings
    space: ActionSpace
    learner: Learner
    memory: Memory
    notes: Notes
    state: Floats
    device: torch.device
    _acting: Chances = field(init=False)
    _learning: Chances = field(init=False)

    def __post_init__(self) -> None:
        seeds = [member.seed for member in self.course.members]
        self._acting = Chances(
            seeds,
            Purpose.ACTIONS,
            _CHUNK,
            lambda rng: [self.learner.draw_actions(rng, _CHUNK, self.envs)],
            self.device,
        )
        self._learning = Chances(
            seeds, Purpose.MINIBATCHES, _CHUNK, self._draw_updates, self.device
        )

    @property
    def envs(self) -> int:
        """Return N, environments per member."""
        return self.batch.rows // len(self.course.members)

    @property
    def computed_by(self) -> str:
        """Name what computes the networks."""
        return "torch" if self.device.type == "cpu" else f"torch on {self.device.type}"

    @property
    def living(self) -> list[int]:
        """Return the places of the members that can go on."""
        return self.course.living

    @property
    def progressed(self) -> Progressed:
        """Return how far the members have come."""
        return self.course.progressed

    def place(self, warm: Mapping[int, Sequence[bytes]]) -> None:
        """Give every living member its networks and its replay: from scratch, or as they were.

        Labelling a large replay takes its time, so the listener hears of every member.
        """
        self.course.take_out(self.memory.designs.rejections, self._silence)
        like = self.memory.replay.kept(0, 0)
        for place in self.living:
            member, inputs = self.course.members[place], self.memory.inputs_of(place)
            if member.checkpoint is None:
                self.learner.start(place, inputs, stream(member.seed, Purpose.WEIGHTS))
                parts = [transitions_of(content, like) for content in warm.get(place, ())]
                broken = self.memory.recall(place, joined([like, *parts]), new=True)
            else:
                views, moments = self.learner.memory(place, inputs), self.memory.moments(place)
                rows, counts = import_member(member.checkpoint, views, moments, like)
                broken = self.memory.recall(place, rows, new=False)
                self.memory.replay.added[place], self.memory.replay.inherited[place] = counts
            if broken is not None:
                self.course.take_out({place: broken}, self._silence)
            self.course.tick()

    def train(self, span: Span) -> None:
        """Train until `span.stop` environment steps per member, or until nobody can go on."""
        coming = max(0, span.stop - self.progressed.steps)
        self.memory.make_room(coming + self.settings.train_every * self.envs)
        self.course.run(span, lambda: self.advance(span.total), self.weights)
        self._note()

    def advance(self, total: int) -> None:
        """Take one turn: act, store, label, learn."""
        before = self.progressed.steps
        lived, self.state = live(
            self.batch,
            self.state,
            self._actor(min(before / max(total, 1), 1.0)),
            self.settings.train_every,
            len(self.course.members),
        )
        count = self.settings.train_every
        self.course.count(count * self.envs, count)
        self.notes.watch(lived, self.memory.store(lived, self.living), self.living)
        self.course.take_out(self.memory.designs.rejections, self._silence)
        after = self.progressed.steps
        self.learner.after_steps(before, after)
        self._learn(before, after)
        self.course.tick()
        if after // STEPS_PER_POINT > before // STEPS_PER_POINT:
            self._note()

    def weights(self) -> dict[int, bytes]:
        """Return the policies of the living members, for scoring."""
        return {
            member: export_policy(
                self.learner.policy(member, self.memory.inputs_of(member)),
                self.memory.normaliser(member),
                self.memory.as_they_are,
            )
            for member in self.living
        }

    def checkpoints(self) -> dict[int, bytes]:
        """Return the checkpoints of the living members."""
        memory = self.memory
        most = fitting_rows(memory.replay.kept(0, 0))
        return {
            m: export_member(
                self.learner.memory(m, memory.inputs_of(m)),
                memory.moments(m),
                memory.replay.kept(m, most),
                self.progressed,
                (int(memory.replay.added[m]), int(memory.replay.inherited[m])),
            )
            for m in self.living
        }

    def curve(self, member: int) -> Curve:
        """Return what a member said of itself."""
        return self.notes.curve(member)

    def _silence(self, member: int) -> None:
        self.memory.designs.drop(member)
        self.learner.silence(member)

    # --- acting and learning ----------------------------------------------------------------------

    def _actor(self, progress: float) -> Callable[[Floats, int], npt.NDArray[Any]]:
        """Return how members act in this turn."""
        explores, begun = self.memory.explorers(), self.progressed.rollouts

        def act(states: Floats, step: int) -> npt.NDArray[Any]:
            noise = self._acting.at(begun + step)[0]
            action = self.learner.act(self.memory.see(states), noise, explores, progress)
            return received(self.space, action.cpu().numpy())

        return act

    def _draw_updates(self, rng: np.random.Generator) -> list[npt.NDArray[Any]]:
        size = self.settings.minibatch
        return [rng.random((_CHUNK, size)), self.learner.draw_updates(rng, _CHUNK, size)]

    def _learn(self, before: int, after: int) -> None:
        """Take the updates that are due for the steps since the last turn."""
        due = range(*(int(steps * self.settings.updates_per_step) for steps in (before, after)))
        learners = self.memory.learners(list(self.course.failures))
        if not due or not learners.any():
            return
        learning = None if learners.all() else torch.from_numpy(learners).to(self.device)
        said: Said = {}
        for number in due:
            chance, noise = self._learning.at(number)
            said = self.learner.update(self.memory.sample(chance), noise, learning)
        self.notes.learned(said)
        finite = torch.stack([torch.isfinite(v) for v in said.values()]).all(0)
        self._take_out(finite | ~torch.from_numpy(learners).to(self.device), "loss")

    def _take_out(self, sound: Tensor, what: str) -> None:
        """Take out members that are not sound, bool [P]."""
        broken = [member for member, good in enumerate(sound.tolist()) if not good]
        reason = f"the {what} became NaN or infinite"
        self.course.take_out(dict.fromkeys(broken, reason), self._silence)

    # --- telling ----------------------------------------------------------------------------------

    def _note(self) -> None:
        """Add a point to every curve."""
        self._take_out(self.learner.finite(), "network")
        self.notes.add_points(self.living, self.progressed.steps)


def new_off_policy_pack(
    members: Sequence[Member],
    rewards: Rewards,
    batch: EnvBatch,
    settings: SACSettings | DQNSettings,
    listener: Listener,
    warm: Mapping[int, Sequence[bytes]] | None = None,
    device: str = "cpu",
) -> OffPolicyPack:
    """Put members into their places, from scratch or from their checkpoints.

    Args:
        members:  the runs; `batch.rows` is a multiple of their number.
        rewards:  what they are trained on.
        batch:    environments, not yet reset; member p owns rows p·N to (p+1)·N.
        settings: of the learner.
        listener: hears of progress, snapshots and failures.
        warm:     place of a member that starts from scratch -> checkpoints of other runs, whose raw
                  transitions go into its replay, in their order.
        device:   where the networks and the labels are.

    Raises:
        InvalidInput: the learner cannot give such actions.
        CheckpointUnusable: checkpoints are not of this network, or not equally far.
    """
    space, where = read_action_space(batch.action), torch.device(device)
    check_algorithm("sac" if isinstance(settings, SACSettings) else "dqn", space.discrete)
    envs, begun = batch.rows // len(members), started(members)
    seeds = [s for m in members for s in environment_seeds(m.seed, begun.rollouts, envs)]
    state = batch.reset(seeds)
    designs = rewards.designs([member.arm for member in members])
    designs.learn_feature_counts(state.reshape(len(members), envs, -1))
    inputs = batch.layout.observation_size + designs.most_features
    memory = Memory(
        arms=[member.arm for member in members],
        rewards=rewards,
        designs=designs,
        replay=Replay(len(members), inputs, batch.layout, space, where),
        observed=RunningMoments(len(members), inputs, prior=0.0),
        settings=settings,
        size=batch.layout.observation_size,
        device=where,
    )
    pack = OffPolicyPack(
        course=Course(members, listener, begun),
        batch=batch,
        settings=settings,
        space=space,
        learner=new_learner(settings, len(members), inputs, space.size, where),
        memory=memory,
        notes=Notes(CurveKeeper(len(members), envs, resumed=begun.steps > 0)),
        state=state,
        device=where,
    )
    pack.place(warm or {})
    return pack
