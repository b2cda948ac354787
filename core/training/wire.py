"""Records on their way into a jail: what JSON can say, and back.

Only what children need travels; secrets and prompts have no form here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import ProgramRejected
from core.fields import Layout, lay_out
from core.records.measured import Preflight
from core.records.programs import Program
from core.records.task import Field, Fitness, Task
from core.training.blame import printable


def program_to_json(program: Program | None) -> dict[str, Any] | None:
    """Return a program as JSON; None stands for the native reward."""
    if program is None:
        return None
    return {
        "source": program.source,
        "sha256": program.sha256,
        "has_reward": program.has_reward,
        "has_features": program.has_features,
        "params": dict(program.params),
        "array": program.array,
        "left_out": [list(term) for term in program.left_out],
    }


def program_from_json(data: Mapping[str, Any] | None) -> Program | None:
    """Return the program that `program_to_json` described."""
    if data is None:
        return None
    return Program(**{**data, "left_out": tuple((kind, name) for kind, name in data["left_out"])})


def fields_to_json(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """Return fields as JSON."""
    return [dataclasses.asdict(field) for field in fields]


def fields_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[Field, ...]:
    """Return the fields that `fields_to_json` described."""
    return tuple(Field(**{**item, "visible": tuple(item["visible"])}) for item in data)


def task_to_json(task: Task) -> dict[str, Any]:
    """Return what a child needs to build a task's environment and to measure its fitness."""
    return {
        "name": task.name,
        "environment": task.environment,
        "description": "",
        "fitness": dataclasses.asdict(task.fitness),
        "fields": fields_to_json(task.fields),
        "env_kwargs": dict(task.env_kwargs),
        "max_episode_steps": task.max_episode_steps,
        "array": task.array,
    }


def task_from_json(data: Mapping[str, Any]) -> Task:
    """Return the task that `task_to_json` described."""
    changed = {
        "fitness": fitness_from_json(data["fitness"]),
        "fields": fields_from_json(data["fields"]),
    }
    return Task(**{**data, **changed})


def fitness_from_json(data: Mapping[str, Any]) -> Fitness:
    """Return a fitness with its parts, which are of the same form."""
    return Fitness(**{**data, "parts": tuple(map(fitness_from_json, data.get("parts", ())))})


def space_to_json(preflight: Preflight) -> dict[str, Any]:
    """Return what a child needs to lay out blocks without an environment."""
    return {
        "fields": fields_to_json(preflight.fields),
        "observation_size": preflight.observation_size,
    }


def layout_from_json(data: Mapping[str, Any]) -> Layout:
    """Return the layout that `space_to_json` described."""
    return lay_out(fields_from_json(data["fields"]), int(data["observation_size"]))


def rejection_to_json(error: ProgramRejected) -> dict[str, Any]:
    """Return a rejection as JSON."""
    return {
        "kind": "rejected",
        "rule": error.rule,
        "found": error.found,
        "expected": error.expected,
        "where": error.where,
        "hint": error.hint,
    }


RULES = frozenset(
    (
        *("runtime", "contract", "inputs", "finite", "deterministic", "stateless", "rows"),
        *("constant", "speed", "time"),
    )
)
"""What a child may say that a program broke; all others are for the parent alone to find broken.

A budget that is used up ends the search, a duplicate is asked anew: no program says so of itself.
"""


def rejection_from_json(data: Mapping[str, Any], most: int = 1200) -> ProgramRejected:
    """Return a rejection that a jailed child reported; its texts are foreign, so they are cleaned."""
    parts = {
        k: printable(str(data[k]), most) if data.get(k) else None
        for k in ("expected", "where", "hint")
    }
    rule = str(data.get("rule"))
    known = rule if rule in RULES else "runtime"
    return ProgramRejected(printable(str(data.get("found", "")), most), rule=known, **parts)
