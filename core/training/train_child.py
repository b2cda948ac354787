"""The training child: reads one order, trains its pack, tells the news, ends.  Runs inside the jail.

torch and its linear algebra load parts of themselves on first use, and that must happen before the
sandbox closes: the zygote calls `warm_up` once.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence

import torch

from core.envs import load_simulators, make_batch
from core.errors import EnvironmentUnusable, InvalidInput, ProgramRejected, TrainingFailed
from core.fields import Layout
from core.records import Task
from core.sandbox.frames import Channel
from core.training.designs import Code, Rewards
from core.training.device_pack import DevicePack, new_device_pack
from core.training.devices import HOST, make_tensor_batch, pick_device
from core.training.pack import Member, Pack, Span, new_pack
from core.training.protocol import (
    Advanced,
    Broken,
    Done,
    MemberDone,
    MemberFailed,
    News,
    Snapshot,
    TrainOrder,
    news_message,
    read_order,
)
from core.training.runtime import load_program
from core.training.settings import PPOSettings, read_settings

_SECONDS_BETWEEN_NEWS = 0.25


def train(channel: Channel, links: Sequence[socket.socket]) -> None:
    """Carry out one order; the entry point of the sandbox."""
    one_thread()
    order = read_order(channel.receive())
    begun = time.monotonic()
    try:
        pack = carry_out(order, Teller(channel, order))
    except (EnvironmentUnusable, InvalidInput, TrainingFailed) as error:
        _tell(channel, Broken(type(error).__name__, str(error)))
        return
    checkpoints = pack.checkpoints()
    for place in pack.living:
        done = MemberDone(place, pack.progressed.steps, pack.curve(place), checkpoints[place])
        _tell(channel, done)
    _tell(channel, Done(time.monotonic() - begun))


def carry_out(order: TrainOrder, teller: Teller) -> Pack | DevicePack:
    """Train the members of an order to its last step.

    Raises:
        EnvironmentUnusable: the environment cannot be built, or broke on the way.
        InvalidInput: a setting is unknown or absurd.
        TrainingFailed: a checkpoint does not fit.
    """
    device, rows = pick_device(order.device, order.task), len(order.members) * order.envs
    members = [
        Member(arm, seed, order.resume.get(place))
        for place, (arm, seed) in enumerate(order.members)
    ]
    settings = read_settings(order.settings)
    span = Span(order.stop_steps, order.total_steps, order.checkpoint_at)
    if device != HOST:
        return _on_device(order, members, settings, span, teller, device)
    batch = make_batch(order.task, rows)
    try:
        pack = new_pack(members, load_rewards(order, batch.layout), batch, settings, teller)
        pack.train(span)
    finally:
        batch.close()
    return pack


def _on_device(
    order: TrainOrder,
    members: Sequence[Member],
    settings: PPOSettings,
    span: Span,
    teller: Teller,
    device: torch.device,
) -> DevicePack:
    batch = make_tensor_batch(order.task, len(members) * order.envs, device)
    try:
        pack = new_device_pack(members, load_rewards(order, batch.layout), batch, settings, teller)
        pack.train(span)
    finally:
        batch.close()
    return pack


def load_rewards(order: TrainOrder, layout: Layout) -> Rewards:
    """Load every arm's program; those that cannot be loaded are rejected with the reason."""
    loaded: dict[str, Code | None] = {}
    rejected: dict[str, str] = {}
    for arm, program in order.programs.items():
        try:
            loaded[arm] = None if program is None else load_program(program, layout)
        except ProgramRejected as error:
            rejected[arm] = str(error)
    return Rewards(loaded, rejected, order.mode, order.weight)


class Teller:
    """Tells the worker how a training goes, not more often than it wants to know."""

    def __init__(self, channel: Channel, order: TrainOrder) -> None:
        self._channel = channel
        self._members = len(order.members)
        self._start = order.start_steps
        self._told_at = -_SECONDS_BETWEEN_NEWS

    def progress(self, steps: int, seconds: float) -> None:
        """Tell how far the training is, unless that was told a moment ago."""
        if seconds - self._told_at < _SECONDS_BETWEEN_NEWS:
            return
        self._told_at = seconds
        done = (steps - self._start) * self._members
        _tell(self._channel, Advanced(done, done / max(seconds, 1e-6)))

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


class _Silence:
    def progress(self, steps: int, seconds: float) -> None:
        """Say nothing."""

    def snapshot(self, steps: int, weights: Mapping[int, bytes]) -> None:
        """Say nothing."""

    def failed(self, member: int, steps: int, reason: str) -> None:
        """Say nothing."""
