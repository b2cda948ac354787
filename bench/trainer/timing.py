"""What is timed: our packs, SB3's runs and the environments alone, each in freshly forked processes.

The parent has imported and warmed everything, as a worker's zygote has; so nobody pays for imports.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import psutil
import torch

from bench.trainer import our_side, sb3_side
from bench.trainer.programs import load_programs
from bench.trainer.setups import SPEED, Setup
from core.envs import EnvBatch, describe_env, load_simulators, make_batch
from core.training.action_space import read_action_space
from core.training.course import Span
from core.training.members import Member

_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process spent; seconds by the wall's clock, memory beyond what it was forked with."""

    seconds: float
    physics: float = 0.0
    rewards: float = 0.0
    features: float = 0.0
    mebibytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Timed:
    """What a job cost from the first fork to the last result, and what its processes say."""

    seconds: float
    spent: tuple[Spent, ...]

    def share(self, of: str) -> float:
        """Return which part of the processes' time went into physics, rewards or features."""
        whole = sum(one.seconds for one in self.spent)
        return sum(getattr(one, of) for one in self.spent) / whole


class Clock:
    """Adds up the time that is spent in some calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same call, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - begun

        return timed


class ClockedBatch:
    """A batch whose steps are timed; for the rest it is the batch."""

    def __init__(self, batch: EnvBatch, clock: Clock) -> None:
        self.batch = batch
        self.step = clock.wrap(batch.step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batch, name)


def warm() -> None:
    """Load in this process what every fork will need, by a tiny run of each side."""
    torch.set_num_threads(1)
    load_simulators()
    tiny = replace(SPEED["CartPole-v1"], steps=16, envs=2, rollout=8, minibatch=16, epochs=1)
    our_side.train(tiny, [0, 1])
    sb3_side.train_natively(tiny, 0)
    gc.collect()
    gc.freeze()  # as the zygote does: no fork of either side looks through what was imported


def in_processes(works: Sequence[Callable[[], Spent]]) -> Timed:
    """Run every work in a fork of its own, all at once.

    Raises:
        RuntimeError: a process broke or was killed.
    """
    begun = time.perf_counter()
    started = []
    for work in works:
        here, there = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=_carry_out, args=(work, there))
        process.start()
        there.close()
        started.append((process, here))
    spent = tuple(_result(here) for _, here in started)
    seconds = time.perf_counter() - begun
    for process, here in started:
        process.join()
        here.close()
    return Timed(seconds, spent)


def _carry_out(work: Callable[[], Spent], there: Connection) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryFile() as said:  # simulators warn of their models at every start
        os.dup2(said.fileno(), 2)
        try:
            there.send(work())
        except BaseException:
            said.seek(0)
            there.send(said.read().decode(errors="replace") + traceback.format_exc())
            raise


def _result(here: Connection) -> Spent:
    try:
        result: Spent | str = here.recv()
    except EOFError as error:
        raise RuntimeError("a process of the bench was killed") from error
    if isinstance(result, str):
        raise RuntimeError(f"a process of the bench broke:\n{result}")
    return result


def adapter_of(setup: Setup) -> str:
    """Return the name of the environment layer that steps a setup."""
    return describe_env(setup.task).adapter


def ours(setup: Setup, packs: Sequence[range], features: bool, backend: str | None) -> Spent:
    """Train packs of candidates one after another, each candidate with a program of its own."""
    resident = psutil.Process().memory_info().rss
    spent = [_one_pack(setup, places, features, backend) for places in packs]
    sums = (sum(getattr(one, of) for one in spent) for of in ("physics", "rewards", "features"))
    return Spent(sum(one.seconds for one in spent), *sums, _peak_beyond(resident))


def _one_pack(setup: Setup, places: range, features: bool, backend: str | None) -> Spent:
    begun = time.perf_counter()
    physics, rewards, seen = Clock(), Clock(), Clock()
    batch = ClockedBatch(make_batch(setup.task, len(places) * setup.envs), physics)
    space = read_action_space(batch.action)
    programs = load_programs(batch.layout, space, places.stop, features=features)
    members = [Member(f"candidate-{place}", 1) for place in places]
    chosen = {member.arm: programs[member.arm] for member in members}
    pack = our_side.make_pack(setup, members, chosen, batch, backend)
    pack.designs.earn = rewards.wrap(pack.designs.earn)
    if features:  # without any, the call is padding of no width
        pack.designs.features = seen.wrap(pack.designs.features)
    pack.train(Span(stop=setup.steps, total=setup.steps))
    pack.checkpoints()
    batch.close()
    if pack.course.failures:
        raise RuntimeError(f"{setup.environment}: {pack.course.failures}")
    return Spent(
        time.perf_counter() - begun,
        physics.seconds,
        rewards.seconds,
        seen.seconds,
    )


def alone(setup: Setup, packs: Sequence[range], steps: int) -> Spent:
    """Step the packs' rows with random actions and nothing else; `steps` are those of one row."""
    seconds = sum(_step(setup, len(places) * setup.envs, steps) for places in packs)
    return Spent(seconds, seconds)


def _step(setup: Setup, rows: int, steps: int) -> float:
    batch = make_batch(setup.task, rows)
    space, rng = read_action_space(batch.action), np.random.default_rng(0)
    if space.discrete:
        actions = rng.integers(0, space.size, (64, rows))
    else:
        shape = (64, rows, space.size)
        actions = rng.uniform(space.low, space.high, shape).astype(np.float32)
    batch.reset(range(rows))
    begun = time.perf_counter()
    for step in range(steps):
        batch.step(actions[step % 64])
    seconds = time.perf_counter() - begun
    batch.close()
    return seconds


def sb3(setup: Setup, seeds: Sequence[int]) -> Spent:
    """Train SB3's runs one after another, on the native reward."""
    begun = time.perf_counter()
    for seed in seeds:
        sb3_side.train_natively(setup, seed)
    return Spent(time.perf_counter() - begun)


def _peak_beyond(resident: int) -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return max(0.0, (peak - resident) / 2**20)
