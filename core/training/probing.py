"""The parent's side of preflight: one child probes the environment, the answer becomes a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.context import MOST_SOURCE
from core.errors import EnvironmentUnusable, InvalidFitness, SandboxFailed
from core.ports import Artifacts, Progress, Watch
from core.records.measured import Preflight
from core.records.task import Task
from core.sandbox import GIB, ChildFailed, Frame, Limits, Sandbox
from core.training.attending import next_frame
from core.training.blame import clean
from core.training.machine import cores, free_memory_bytes
from core.training.wire import fields_from_json, task_to_json

ENTRY = "core.training.preflight:probe"
LIMITS = Limits(wall_seconds=120.0, cpu_seconds=120, memory_bytes=2 * GIB)


def probe_task(
    sandbox: Sandbox,
    artifacts: Artifacts,
    task: Task,
    seed: int,
    watch: Watch,
    *,
    source: bool = False,
) -> Preflight:
    """Probe an environment in a child of its own; `estimate` is left empty.

    With `source` the text of the environment's classes comes along.

    Raises:
        EnvironmentUnusable: it cannot be built, or the child did not survive it.
        InvalidFitness: the fitness names a field that the environment does not give.
    """
    with sandbox.spawn(ENTRY, LIMITS) as child:
        try:
            child.send({"task": task_to_json(task), "seed": seed, "source": source})
            frame = next_frame(child, watch, Progress("preflight", 0, 1))
        except ChildFailed as error:
            raise EnvironmentUnusable(
                f"{error.found} {_tail(error)}".strip(),
                expected="an environment that can be built and stepped in the sandbox",
                where=task.environment,
                hint="It gets no network, writes no files and has two minutes and 2 GiB.",
            ) from error
    if frame.header.get("kind") == "unusable":
        raise _refusal(frame.header)
    return _read(frame, artifacts, sandbox.isolation.level)


def _refusal(header: Mapping[str, Any]) -> EnvironmentUnusable | InvalidFitness:
    kind = InvalidFitness if header.get("fitness") else EnvironmentUnusable
    parts = {
        name: clean(str(header[name]), 2000) if header.get(name) else None
        for name in ("expected", "where", "hint")
    }
    return kind(clean(str(header.get("found")), 2000), **parts)


def _read(frame: Frame, artifacts: Artifacts, level: int) -> Preflight:
    found = frame.header
    try:
        return Preflight(
            fields=fields_from_json(found["fields"]),
            observation_size=int(found["observation_size"]),
            action=found["action"],
            max_episode_steps=found["max_episode_steps"],
            quantiles={
                n: (float(a), float(b), float(c)) for n, (a, b, c) in found["quantiles"].items()
            },
            random_fitness=float(found["random_fitness"]),
            ended_early=None if found["ended_early"] is None else float(found["ended_early"]),
            steps_per_second=float(found["steps_per_second"]),
            stepping_seconds=max(0.0, float(found["stepping_seconds"])),
            adapter=str(found["adapter"]),
            probe=artifacts.put(frame.blobs["probe"]),
            recording=artifacts.put(frame.blobs["recording"]),
            estimate={},
            isolation_level=level,
            warnings=tuple(clean(str(text), 500) for text in found["warnings"]),
            cores=cores(),
            memory_bytes=free_memory_bytes(),
            row_bytes=max(0, int(found["row_bytes"])),
            row_reserved_bytes=max(0, int(found["row_reserved_bytes"])),
            source=str(found.get("source", ""))[:MOST_SOURCE],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SandboxFailed(f"{error}", expected="the answer of a preflight") from error


def _tail(error: ChildFailed) -> str:
    return "" if error.exit is None else clean(error.exit.stderr_tail[-600:], 600)
