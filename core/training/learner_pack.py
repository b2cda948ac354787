"""Runs of the user's own learner on the same rows and programs as ours.

One run after the other, in the same jail and under the same supervision, by a class of
Stable-Baselines3 or by a function of the user's.  Only the numbers of the network that acts leave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from safetensors.numpy import save

from core.envs import EnvBatch
from core.errors import TrainingFailed
from core.learners import SB3, SCRIPT, Learner
from core.records.measured import Curve
from core.seeding import for_old_generators
from core.training.acting import Acting, acting_weights
from core.training.action_space import read_action_space
from core.training.course import Course, Span
from core.training.designs import Designs
from core.training.learner_rows import Live, Rows
from core.training.sb3_learner import train_sb3
from core.training.script_learner import train_script
from core.training.weights import Progressed

Trainer: TypeAlias = Callable[[Learner, Rows, int, int, Live], Acting]
TRAINERS: Mapping[str, Trainer] = {SB3: train_sb3, SCRIPT: train_script}


@dataclass(slots=True)
class LearnerPack:
    """Members that are trained one after the other with somebody else's learner.

    Attributes:
        batch:   the rows of one member, which all use in turn.
        designs: of each member, its program alone.
    """

    course: Course
    batch: EnvBatch
    designs: Sequence[Designs]
    learner: Learner
    points: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    _weights: dict[int, bytes] = field(default_factory=dict)

    @property
    def computed_by(self) -> str:
        """Name what computes the networks."""
        return f"{self.learner.library} {self.learner.algorithm}"

    @property
    def progressed(self) -> Progressed:
        """Return how far the members have come."""
        return self.course.progressed

    @property
    def living(self) -> list[int]:
        """Return the places of the members that can go on."""
        return self.course.living

    def train(self, span: Span) -> None:
        """Train every member for `span.stop` steps, and tell the weights of all in the end.

        Raises:
            InvalidInput: the learner does not take a setting, or is not there.
        """
        for place in range(len(self.course.members)):
            if place not in self.course.failures:
                self._train_one(place, span)
        self.course.count(span.stop)
        weights = {place: self._weights[place] for place in self.living}
        if weights:
            self.course.listener.snapshot(span.stop, weights)

    def checkpoints(self) -> dict[int, bytes]:
        """Return the weights of the living members; nobody goes on from them."""
        return {place: self._weights[place] for place in self.living}

    def curve(self, member: int) -> Curve:
        """Return the reward per step that a member was trained on."""
        points = self.points.get(member, [])
        return Curve(
            tuple(steps for steps, _ in points), {"training_reward": tuple(r for _, r in points)}
        )

    def _train_one(self, place: int, span: Span) -> None:
        designs, seed = self.designs[place], self.course.members[place].seed
        rows = Rows(self.batch, designs, seed)

        def live(lived: int, earned: float) -> bool:
            self.course.tick((place * span.stop + min(lived, span.stop)) // len(self.designs))
            if lived >= self._due(place, span):
                self.points.setdefault(place, []).append((lived, earned))
                span.pause()
            return not designs.rejections

        try:
            train = TRAINERS[self.learner.library]
            acting = train(self.learner, rows, span.stop, for_old_generators(seed), live)
        except TrainingFailed as error:
            self._take_out(place, designs.rejections[0] if designs.rejections else str(error))
            return
        if designs.rejections:
            self._take_out(place, designs.rejections[0])
            return
        weights = acting_weights(acting, read_action_space(self.batch.action))
        if all(np.isfinite(tensor).all() for tensor in weights.values()):
            self._weights[place] = save(weights)
        else:
            self._take_out(place, "the network became NaN or infinite")

    def _take_out(self, place: int, reason: str) -> None:
        self.course.take_out({place: reason}, lambda member: None)

    def _due(self, place: int, span: Span) -> int:
        """Return at how many steps a member has something to tell: a hundred times in all.

        A learner whose rollouts are longer than that lives on, and tells ever more rarely.
        """
        last = self.points.get(place, [(0, 0.0)])[-1][0]
        return last + max(1, span.stop // 100 if last < span.stop else last // 20)
