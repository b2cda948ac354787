"""The training child: reads one order, trains its pack, tells the news, ends.  Runs inside the jail.

torch and its linear algebra load parts of themselves on first use, and that must happen before the
sandbox closes: the zygote calls `warm_up` once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch

from core.envs import EnvBatch, load_simulators, make_batch
from core.errors import (
    CheckpointUnusable,
    EnvironmentUnusable,
    InvalidInput,
    ProgramRejected,
    TrainingFailed,
)
from core.fields import Layout
from core.learners import Learner, read_learner
from core.records.task import Task
from core.sandbox.frames import Channel, Link
from core.training.course import Course, Listener, Span
from core.training.deadlines import Deadlines
from core.training.designs import Code, Rewards
from core.training.device_pack import DevicePack, new_device_pack
from core.training.devices import HOST, make_tensor_batch, pick_device
from core.training.fitness_rows import FitnessRows
from core.training.learner_pack import LearnerPack
from core.training.members import Member
from core.training.off_policy_pack import OffPolicyPack, new_off_policy_pack
from core.training.pack import Pack, new_pack
from core.training.protocol import (
    SAVE_SECONDS,
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
    TrainOrder,
    news_message,
    read_order,
)
from core.training.runtime import load_program
from core.training.settings import PPOSettings, read_settings
from core.training.weights import Progressed

AnyPack: TypeAlias = Pack | OffPolicyPack | DevicePack | LearnerPack

_SECONDS_BETWEEN_NEWS = 0.25
_SAVE_SHARE = 0.1  # of what a rung has taken so far is what may be lost
_SAVE_COST = 0.02  # of the time may go into saving
_SAVED_BYTES_PER_SECOND = 200e3  # of disk, for replays make checkpoints large


def train(channel: Channel, links: Sequence[Link]) -> None:
    """Carry out one order; the entry point of the sandbox."""
    one_thread()
    order = read_order(channel.receive())
    begun = time.monotonic()
    try:
        with Deadlines(links) as deadlines:
            pack = carry_out(order, Teller(channel, order), deadlines)
    except (EnvironmentUnusable, InvalidInput, TrainingFailed) as error:
        _tell(channel, Broken(_kind(error), str(error)))
        return
    checkpoints = pack.checkpoints()
    for place in pack.living:
        done = MemberDone(place, pack.progressed.steps, pack.curve(place), checkpoints[place])
        _tell(channel, done)
    _tell(channel, Done(time.monotonic() - begun))


def _kind(error: EnvironmentUnusable | InvalidInput | TrainingFailed) -> str:
    kinds = (EnvironmentUnusable, InvalidInput, CheckpointUnusable, TrainingFailed)
    return next(kind.__name__ for kind in kinds if isinstance(error, kind))


def carry_out(order: TrainOrder, teller: Teller, deadlines: Deadlines) -> AnyPack:
    """Train the members of an order to its last step, and save them on the way.

    Raises:
        EnvironmentUnusable: the environment cannot be built, or broke on the way.
        InvalidInput: a setting is unknown or absurd.
        CheckpointUnusable: a checkpoint does not fit.
    """
    if order.learner is not None:
        return _carry_out_with(read_learner(order.learner), order, teller, deadlines)
    # The fitness is measured row by row on the host, whose steps wait for nobody.
    device = HOST if order.fitness_alone else pick_device(order.device, order.task, order.algorithm)
    if device != HOST:
        return _carry_out_on(device, order, teller, deadlines)
    batch = make_batch(order.task, len(order.members) * order.envs, nthread=order.threads)
    if order.fitness_alone:
        batch = FitnessRows(batch, order.task.fitness, order.time_limit)
    try:
        rewards = load_rewards(order, batch.layout, deadlines)
        pack = make_pack(order, _members(order), rewards, batch, teller)
        _train(pack, order, teller, deadlines)
    finally:
        batch.close()
    return pack


def _carry_out_on(
    device: torch.device, order: TrainOrder, teller: Teller, deadlines: Deadlines
) -> DevicePack:
    batch = make_tensor_batch(order.task, len(order.members) * order.envs, device)
    try:
        rewards = load_rewards(order, batch.layout, deadlines)
        settings = read_settings(order.settings, order.algorithm)
        assert isinstance(settings, PPOSettings)  # `pick_device` gives other learners the host
        pack = new_device_pack(_members(order), rewards, batch, settings, teller)
        _train(pack, order, teller, deadlines)
    finally:
        batch.close()
    return pack


def _carry_out_with(
    learner: Learner, order: TrainOrder, teller: Teller, deadlines: Deadlines
) -> LearnerPack:
    batch = make_batch(order.task, learner.envs or order.envs, nthread=order.threads)
    try:
        rewards, members = load_rewards(order, batch.layout, deadlines), _members(order)
        designs = [rewards.designs([member.arm]) for member in members]
        course = Course(members, teller, Progressed(0, 0))
        course.take_out(
            {place: one.rejections[0] for place, one in enumerate(designs) if one.rejections},
            lambda member: None,
        )
        pack = LearnerPack(course, batch, designs, learner)
        teller.begin(pack)
        span = Span(order.stop_steps, order.total_steps, order.checkpoint_at, deadlines.judge)
        pack.train(span)
    finally:
        batch.close()
    return pack


def _members(order: TrainOrder) -> list[Member]:
    return [
        Member(arm, seed, order.resume.get(place))
        for place, (arm, seed) in enumerate(order.members)
    ]


def _train(pack: AnyPack, order: TrainOrder, teller: Teller, deadlines: Deadlines) -> None:
    teller.begin(pack)

    def pause() -> None:
        deadlines.judge()
        if pack.progressed.steps < order.stop_steps:
            teller.save_when_due(pack)

    pack.train(Span(order.stop_steps, order.total_steps, order.checkpoint_at, pause))


def make_pack(
    order: TrainOrder,
    members: Sequence[Member],
    rewards: Rewards,
    batch: EnvBatch,
    listener: Listener,
) -> Pack | OffPolicyPack:
    """Put the members of an order into a pack of its algorithm.

    Raises:
        InvalidInput: a setting is unknown or absurd, or the algorithm does not fit the actions.
        CheckpointUnusable: a checkpoint does not fit.
    """
    settings = read_settings(order.settings, order.algorithm)
    if isinstance(settings, PPOSettings):
        return new_pack(members, rewards, batch, settings, listener)
    warm = {place: [order.stored[n] for n in names] for place, names in order.warm.items()}
    return new_off_policy_pack(members, rewards, batch, settings, listener, warm)


def load_rewards(order: TrainOrder, layout: Layout, deadlines: Deadlines) -> Rewards:
    """Load every arm's program; those that cannot be loaded are rejected with the reason."""
    loaded: dict[str, Code | None] = {}
    rejected: dict[str, str] = {}
    for number, (arm, program) in enumerate(order.programs.items()):
        guard = deadlines.guard(number)
        try:
            loaded[arm] = None if program is None else load_program(program, layout, guard=guard)
        except ProgramRejected as error:
            rejected[arm] = str(error)
    return Rewards(loaded, rejected, order.mode, order.weight)


class Teller:
    """Tells the worker how a training goes, not more often than it wants to know."""

    def __init__(self, channel: Channel, order: TrainOrder) -> None:
        self._channel = channel
        self._members = len(order.members)
        self._start = order.start_steps
        self._begun = self._saved_at = time.monotonic()
        self._told_at = self._begun - _SECONDS_BETWEEN_NEWS
        self._from: int | None = None  # before the first step there is no speed
        self._save_after = SAVE_SECONDS

    def begin(self, pack: AnyPack) -> None:
        """Start the clock; a training that was cut off begins in the middle of its rung."""
        self._from, self._begun = pack.progressed.steps, time.monotonic()
        _tell(self._channel, Begun(pack.batch.adapter, pack.computed_by))

    def progress(self, steps: int, seconds: float) -> None:
        """Tell how far the training is, unless that was told a moment ago."""
        now = time.monotonic()
        if now - self._told_at < _SECONDS_BETWEEN_NEWS:
            return
        self._told_at = now
        done = (steps - self._start) * self._members
        lived = 0 if self._from is None else (steps - self._from) * self._members
        _tell(self._channel, Advanced(done, lived / max(now - self._begun, 1e-6)))

    def save_when_due(self, pack: AnyPack) -> None:
        """Send what the living members could go on from, now and then.

        More and more rarely, so that what is kept of a long rung stays little.
        """
        began = time.monotonic()
        if began - self._saved_at < self._save_after:
            return
        checkpoints = pack.checkpoints()
        for member, checkpoint in checkpoints.items():
            _tell(self._channel, MemberSaved(member, pack.curve(member), checkpoint))
        _tell(self._channel, PackSaved(pack.progressed.steps, began - self._begun))
        self._saved_at = time.monotonic()
        spent, lasted = self._saved_at - began, self._saved_at - self._begun
        written = sum(map(len, checkpoints.values())) / _SAVED_BYTES_PER_SECOND
        self._save_after = max(SAVE_SECONDS, lasted * _SAVE_SHARE, spent / _SAVE_COST, written)

    def snapshot(self, steps: int, weights: Mapping[int, bytes]) -> None:
        """Send the weights of the living members."""
        _tell(self._channel, Snapshot(steps, weights))

    def failed(self, member: int, steps: int, reason: str) -> None:
        """Tell that a member cannot go on."""
        _tell(self._channel, MemberFailed(member, steps, reason))


def _tell(channel: Channel, news: News) -> None:
    channel.send(*news_message(news))


def one_thread() -> None:
    """Give torch one thread: parallelism belongs to processes, and idle threads would spin."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def warm_up() -> None:
    """Load simulators and train a tiny pack, so that everything a training needs is loaded."""
    one_thread()
    load_simulators()
    for environment in ("CartPole-v1", "Pendulum-v1"):
        batch = make_batch(Task("warm-up", environment, ""), 4)
        members = [Member("native", 0), Member("native", 1)]
        settings = read_settings({"rollout": 8, "minibatch": 16, "hidden": [8]})
        pack = new_pack(members, Rewards({"native": None}), batch, settings, _Silence())
        pack.train(Span(stop=32, total=32, snapshots=(32,)))
        pack.checkpoints()
        batch.close()
    for algorithm, environment in (("dqn", "CartPole-v1"), ("sac", "Pendulum-v1")):
        batch = make_batch(Task("warm-up", environment, ""), 4)
        little = read_settings({"learning_starts": 4, "hidden": [8], "minibatch": 8}, algorithm)
        assert not isinstance(little, PPOSettings)
        other = new_off_policy_pack(members, Rewards({"native": None}), batch, little, _Silence())
        other.train(Span(stop=16, total=16, snapshots=(16,)))
        other.checkpoints()
        batch.close()


class _Silence:
    def progress(self, steps: int, seconds: float) -> None:
        """Say nothing."""

    def snapshot(self, steps: int, weights: Mapping[int, bytes]) -> None:
        """Say nothing."""

    def failed(self, member: int, steps: int, reason: str) -> None:
        """Say nothing."""
