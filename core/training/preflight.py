"""Preflight, in a jailed child: the environment is built and probed with random actions."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs import describe_env, make_batch
from core.envs.batch import Actions, EnvBatch, EnvFacts
from core.envs.sources import environment_source
from core.errors import EnvironmentUnusable, InvalidFitness, InvalidInput
from core.fields import Floats, Layout, lay_out
from core.fitness import check_fitness
from core.records.task import Field, Task
from core.sandbox.frames import Channel, Link
from core.training.action_space import read_action_space
from core.training.episodes import Episode, run_episodes
from core.training.keeping import kept_episodes, put_together
from core.training.probes import PROBE_ROWS, edge_transitions
from core.training.transitions import (
    Recording,
    Transitions,
    joined,
    repeated,
    save_recording,
    save_transitions,
)
from core.training.wire import fields_to_json, task_from_json

ROWS = 16
PROBE_SECONDS = 5.0
KEPT_ROWS = 20_000
TOLERANCE = 1e-4
TIMED_ROWS = 64
TIMED_SECONDS = 0.25


def probe(channel: Channel, links: Sequence[Link]) -> None:
    """Probe one environment: a task in, facts and the probe set out."""
    order = channel.receive().header
    try:
        task = task_from_json(order["task"])
        found, walk, probe_set = explore(task, int(order["seed"]))
        if order.get("source"):
            found["source"] = environment_source(task)
    except (EnvironmentUnusable, InvalidInput) as error:
        channel.send(
            {
                "kind": "unusable",
                "fitness": isinstance(error, InvalidFitness),
                "found": error.found,
                "expected": error.expected,
                "where": error.where,
                "hint": error.hint,
            }
        )
        return
    blobs = {"probe": save_transitions(probe_set), "recording": save_recording(walk.recording)}
    channel.send({"kind": "found", **found}, blobs)


def explore(task: Task, seed: int) -> tuple[dict[str, Any], Walk, Transitions]:
    """Build the environment, live random episodes, and describe what was seen.

    Returns:
        What a `Preflight` holds, as JSON, the walk, and the probe set with its edge rows.

    Raises:
        EnvironmentUnusable: it cannot be built or stepped.
        InvalidFitness: the fitness names a field that the environment does not give.
    """
    facts = describe_env(task)
    fields = flattened(facts)
    task = replace(task, fields=fields)
    check_fitness(task.fitness, fields)
    layout = lay_out(fields, facts.observation_size)
    walk = random_walk(task, facts, seed)
    seen = walk.transitions
    real = repeated(seen, PROBE_ROWS)
    found = {
        "fields": fields_to_json(fields),
        "observation_size": facts.observation_size,
        "action": dict(facts.action),
        "max_episode_steps": facts.max_episode_steps,
        "quantiles": quantiles(seen.next, layout),
        "random_fitness": walk.fitness,
        "ended_early": walk.ended_early,
        "steps_per_second": walk.steps_per_second,
        "stepping_seconds": stepping_seconds(task, seed),
        "row_bytes": walk.row_bytes,
        "row_reserved_bytes": walk.row_reserved_bytes,
        "adapter": facts.adapter,
        "warnings": [*facts.warnings, *out_of_range(seen.next, layout), *walk.warnings],
    }
    return found, walk, joined([real, edge_transitions(real, layout)])


def flattened(facts: EnvFacts) -> tuple[Field, ...]:
    """Return the fields with dictionary keys resolved to places in the flat observation.

    Whoever lays blocks out later then needs no knowledge of the environment.
    """
    columns = lay_out(facts.fields, facts.observation_size, facts.key_offsets).columns
    flat = {
        c.field.name: replace(
            c.field, source=f"obs[{c.start}]" if c.scalar else f"obs[{c.start}:{c.stop}]"
        )
        for c in columns
        if c.source.kind == "obs" and c.source.key is not None
    }
    return tuple(flat.get(field.name, field) for field in facts.fields)


@dataclass(frozen=True, slots=True)
class Walk:
    """What the random policy lived: its transitions mixed, and some whole episodes."""

    transitions: Transitions
    recording: Recording
    fitness: float
    ended_early: float | None
    steps_per_second: float
    row_bytes: int
    row_reserved_bytes: int
    warnings: tuple[str, ...]


def random_walk(task: Task, facts: EnvFacts, seed: int) -> Walk:
    """Live one random episode per row, and more until the probe set is full, for a few seconds.

    Fitness is the mean over whole waves, one episode per row; to count whatever has ended when time
    is up would favour short episodes.  If not even the first wave ends, its beginnings count.
    """
    reserved, resident = memory_now()
    batch = make_batch(task, ROWS, autoreset=False)
    batch.reset(range(ROWS))
    row_reserved, row_bytes = (
        math.ceil(max(0, after - before) / ROWS)
        for after, before in zip(memory_now(), (reserved, resident), strict=True)
    )
    rng = np.random.default_rng(seed)
    started = time.monotonic()
    deadline = started + PROBE_SECONDS
    episodes: list[Episode] = []
    whole = 0  # episodes of waves that were not cut
    try:
        while not episodes or (_lived(episodes) < PROBE_ROWS and time.monotonic() < deadline):
            wave = _wave(batch, rng, task, facts.max_episode_steps, deadline)
            episodes += wave
            whole += ROWS * all(episode.finished for episode in wave)
    finally:
        batch.close()
    counted = episodes[: whole or ROWS]
    return Walk(
        _shuffled([e.transitions for e in episodes if e.transitions is not None], rng),
        kept_episodes(
            put_together([(e.transitions, e.fitness) for e in counted if e.transitions is not None])
        ),
        float(np.mean([episode.fitness for episode in counted])),
        float(np.mean([episode.terminated for episode in counted])) if whole else None,
        _lived(episodes) / max(time.monotonic() - started, 1e-6),
        row_bytes,
        max(row_bytes, row_reserved),
        _unfinished(counted),
    )


def stepping_seconds(task: Task, seed: int) -> float:
    """Return how long a step of one row takes a core, in a batch as large as that of a small pack.

    The random walk is no measure of it: there, few rows are stepped and everything is written down.
    An environment that waits more than it computes is measured by the clock on the wall.
    """
    batch = make_batch(task, TIMED_ROWS)
    rng, steps, cpu, wall = np.random.default_rng(seed), 0, 0.0, 0.0
    try:
        batch.reset(range(TIMED_ROWS))
        begun = time.process_time(), time.monotonic()
        while cpu < TIMED_SECONDS and wall < 4 * TIMED_SECONDS:
            batch.step(random_actions(batch, rng))
            steps += 1
            cpu, wall = time.process_time() - begun[0], time.monotonic() - begun[1]
    finally:
        batch.close()
    return (cpu if cpu > TIMED_SECONDS / 2 else wall) / (steps * TIMED_ROWS)


def memory_now() -> tuple[int, int]:
    """Return address space and resident memory of this process, in bytes; zeros off Linux."""
    try:
        reserved, resident, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return 0, 0
    return int(reserved) * resource.getpagesize(), int(resident) * resource.getpagesize()


def _wave(
    batch: EnvBatch, rng: np.random.Generator, task: Task, limit: int | None, deadline: float
) -> list[Episode]:
    return run_episodes(
        batch,
        lambda _state: random_actions(batch, rng),
        [int(number) for number in rng.integers(0, 2**31, ROWS)],
        task.fitness,
        keep=range(ROWS),
        limit=limit,
        deadline=deadline,
    )


def random_actions(batch: EnvBatch, rng: np.random.Generator) -> Actions:
    """Draw an action per row, uniform over indices or between the bounds."""
    space = read_action_space(batch.action)
    if space.discrete:
        return rng.integers(0, space.size, batch.rows)
    uniform = rng.random((batch.rows, space.size), np.float32)
    return uniform * (space.high - space.low) + space.low


def quantiles(block: Floats, layout: Layout) -> dict[str, list[float]]:
    """Return (1 %, 50 %, 99 %) of every field over rows [N, size]."""
    values = layout.values(block, layout.names("metric"))
    return {
        name: [float(q) for q in np.quantile(value, (0.01, 0.5, 0.99))]
        for name, value in values.items()
    }


def out_of_range(block: Floats, layout: Layout) -> list[str]:
    """Say which fields were seen outside the range that the task promises."""
    found = []
    for name, value in layout.values(block, layout.names("metric")).items():
        field = next(c.field for c in layout.columns if c.field.name == name)
        low, high = float(value.min()), float(value.max())
        slack = TOLERANCE * max(1.0, abs(field.low or 0.0), abs(field.high or 0.0))
        under = field.low is not None and low < field.low - slack
        over = field.high is not None and high > field.high + slack
        if under or over:
            found.append(
                f"field {name!r}: expected values from {field.low} to {field.high}, "
                f"but found {low:.4g} to {high:.4g} with random actions"
            )
    return found


def _shuffled(parts: list[Transitions], rng: np.random.Generator) -> Transitions:
    """Mix the rows, so that the first 4,096 are spread over episodes and times."""
    everything = joined(parts)
    chosen: npt.NDArray[np.int64] = rng.permutation(len(everything))[:KEPT_ROWS]
    return everything.take(chosen)


def _lived(episodes: Sequence[Episode]) -> int:
    return sum(episode.length for episode in episodes)


def _unfinished(episodes: Sequence[Episode]) -> tuple[str, ...]:
    cut = sum(not episode.finished for episode in episodes)
    if not cut:
        return ()
    return (
        f"{cut} of {len(episodes)} random episodes did not end within {PROBE_SECONDS:g} s; "
        "the random policy's fitness is that of their beginnings",
    )
