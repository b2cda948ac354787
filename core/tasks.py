"""Tasks: the catalogue (one TOML file each), and the reading and checking of a user's own.

TOML and JSON have the same form:

    name, environment, description, actions, max_episode_steps, env_kwargs
    fitness  = {kind, where, field, over, horizon, goal, parts}    # parts: [fitness, …]
    fields   = [{name, source, unit, low, high, meaning, visible}, …]
    training = {steps, …}                          # entries of `core.records.spec.Training`
    array    = "numpy"                             # or "torch": the library of its programs

A file of the catalogue may say `like = "hopper"`: what it leaves out is taken from that file, so that
another wish for the same environment has the same fields.
"""

from __future__ import annotations

import dataclasses
import difflib
import keyword
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TypeVar, cast

from core.errors import InvalidInput, UnknownTask
from core.fields import read_source
from core.fitness import check_fitness
from core.records.kinds import ArrayLibrary, FitnessKind, Json, Reduction, Visibility
from core.records.spec import Training
from core.records.task import Field, Fitness, Task

MAX_DESCRIPTION = 20_000  # characters
MAX_FIELDS = 512
_VISIBLE: tuple[Visibility, ...] = ("policy", "reward", "metric")
_ENVIRONMENT = re.compile(r"^(?:[\w.]+:)?(?:[\w.-]+/)?[\w.-]+$")
_VERSIONED = re.compile(r"-v\d+$")
T = TypeVar("T")


# --- finding ----------------------------------------------------------------------------------


@cache
def catalogue() -> Mapping[str, Task]:
    """Return the tasks that come with the product, by name.

    Raises:
        InvalidInput: a file of the catalogue is broken.
    """
    paths = [p for p in (files("core") / "catalogue").iterdir() if p.name.endswith(".toml")]
    read = {p.name.removesuffix(".toml"): tomllib.loads(p.read_text("utf-8")) for p in paths}
    tasks = {}
    for name in sorted(read):
        task = task_from_mapping(_completed(name, read))
        check_task(task)
        tasks[task.name] = task
    return MappingProxyType(tasks)


def _completed(name: str, read: Mapping[str, Json]) -> Json:
    """Return a file's entries with those that it leaves out, of the file that it is like."""
    own = dict(read[name])
    base = own.pop("like", None)
    if base is None:
        return own
    if base not in read or "like" in read[str(base)]:
        raise InvalidInput(
            f"like = {base!r}", expected="a file of the catalogue that is complete", where=name
        )
    return {**read[str(base)], **own}


def find_task(name: str) -> Task:
    """Return a task of the catalogue, or a plain one for any other environment id.

    An environment id gives a task of that name with the native return as its fitness.  Its fields are
    those of the catalogue where that knows the environment; otherwise preflight derives them.

    Raises:
        UnknownTask: neither; says which names are near.
    """
    if name in catalogue():
        return catalogue()[name]
    if _ENVIRONMENT.match(name) and (":" in name or _VERSIONED.search(name)):
        wish = f"Do as well as possible in {name}, as its own reward counts it."
        return with_known_fields(Task(name, name, wish))
    near = difflib.get_close_matches(name, catalogue(), n=3, cutoff=0.6)
    raise UnknownTask(
        repr(name),
        expected=f"one of the tasks {', '.join(catalogue())}, or an environment id",
        where="task",
        hint=f"Did you mean {' or '.join(near)}?" if near else None,
    )


def with_known_fields(task: Task) -> Task:
    """Give a task without fields those of the catalogue's task on the same environment, if any.

    Actions and training come along where the task has none; description and fitness stay its own.
    """
    if task.fields:
        return task
    same = [
        known
        for known in catalogue().values()
        if known.environment == task.environment and dict(known.env_kwargs) == dict(task.env_kwargs)
    ]
    if not same:
        return task
    known = next((k for k in same if k.fitness.kind == "return"), same[0])  # no other wish's
    return replace(
        task,
        fields=known.fields,
        actions=task.actions or known.actions,
        training=task.training or known.training,
    )


# --- checking ---------------------------------------------------------------------------------


def check_task(task: Task) -> None:
    """Hold a task to the rules that need no environment.

    Raises:
        InvalidInput: a name, source, bound or text is not acceptable.
        InvalidFitness: the fitness cannot be read or names an unknown field.
    """
    _check_texts(task)
    _expect(task.array in ("numpy", "torch"), repr(task.array), "numpy or torch", "task array")
    _check_names(task.fields)
    for field in task.fields:
        _check_field(field)
    check_fitness(task.fitness, task.fields)


def _check_texts(task: Task) -> None:
    _expect(bool(task.name.strip()), repr(task.name), "a name", "task name")
    _expect(
        bool(_ENVIRONMENT.match(task.environment)),
        repr(task.environment),
        "an environment id such as CartPole-v1 or module:EnvId",
        "task environment",
    )
    length = len(task.description.strip())
    _expect(
        0 < length <= MAX_DESCRIPTION,
        f"{length} characters",
        f"1 to {MAX_DESCRIPTION} characters that say what is wanted",
        "task description",
    )
    steps = task.max_episode_steps
    _expect(
        steps is None or steps > 0, str(steps), "a positive number of steps", "max_episode_steps"
    )


def _check_names(fields: Sequence[Field]) -> None:
    _expect(
        len(fields) <= MAX_FIELDS, f"{len(fields)} fields", f"at most {MAX_FIELDS}", "task fields"
    )
    seen: set[str] = set()
    for field in fields:
        name = field.name
        plain = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")
        expected = "a Python identifier that is no keyword and does not start with _"
        _expect(plain, repr(name), expected, "field name")
        _expect(name not in seen, f"{name!r} twice", "every field name once", "task fields")
        seen.add(name)


def _check_field(field: Field) -> None:
    where = f"field {field.name!r}"
    source = read_source(field)
    bounds = [b for b in (field.low, field.high) if b is not None]
    found = f"low = {field.low}, high = {field.high}"
    _expect(all(map(math.isfinite, bounds)), found, "finite bounds, or none", where)
    _expect(len(bounds) < 2 or bounds[0] < bounds[1], found, "low below high", where)
    readers = ", ".join(_VISIBLE)
    _expect(set(field.visible) <= set(_VISIBLE), repr(field.visible), f"some of {readers}", where)
    _expect(
        source.kind == "obs" or "policy" not in field.visible,
        f"{field.source} visible to the policy",
        "only parts of the observation to be visible to the policy",
        where,
    )


def _expect(holds: bool, found: str, expected: str, where: str) -> None:
    if not holds:
        raise InvalidInput(found, expected=expected, where=where)


# --- reading ----------------------------------------------------------------------------------


def task_from_mapping(data: Json) -> Task:
    """Read a task from its TOML or JSON form.  `name` is the environment's id unless given.

    Raises:
        InvalidInput: an entry is missing, unknown or of the wrong type.
    """
    _only(data, {f.name for f in dataclasses.fields(Task)}, "task")
    environment = _text(data, "environment", "task")
    description = _text(data, "description", "task")
    fields = _sequence(data.get("fields", ()), "task fields")
    return Task(
        name=_text(data, "name", "task") if "name" in data else environment,
        environment=environment,
        description=" ".join(description.split()) if "\n" not in description else description,
        fitness=_read_fitness(_mapping(data.get("fitness", {}), "task fitness")),
        fields=tuple(_read_field(_mapping(f, f"field {i}")) for i, f in enumerate(fields)),
        env_kwargs=dict(_mapping(data.get("env_kwargs", {}), "task env_kwargs")),
        max_episode_steps=_optional(data, "max_episode_steps", _whole, "task"),
        actions=_text(data, "actions", "task") if "actions" in data else "",
        training=_read_training(_mapping(data.get("training", {}), "task training")),
        array=cast(ArrayLibrary, data.get("array", "numpy")),  # `check_task` holds it to the list
    )


def task_to_mapping(task: Task) -> dict[str, object]:
    """Return the TOML or JSON form; `task_from_mapping` reads it back to an equal task."""
    plain: dict[str, object] = {
        "name": task.name,
        "environment": task.environment,
        "description": task.description,
        "actions": task.actions,
        "fitness": _plain_fitness(task.fitness),
        "fields": [
            _without_none({**dataclasses.asdict(f), "visible": list(f.visible)})
            for f in task.fields
        ],
        "env_kwargs": dict(task.env_kwargs),
        "training": dict(task.training),
    }
    if task.array != "numpy":
        plain["array"] = task.array
    if task.max_episode_steps is not None:
        plain["max_episode_steps"] = task.max_episode_steps
    return plain


def _plain_fitness(fitness: Fitness) -> dict[str, object]:
    plain = _without_none(dataclasses.asdict(replace(fitness, parts=())))
    del plain["parts"]
    return (
        {**plain, "parts": [_plain_fitness(p) for p in fitness.parts]} if fitness.parts else plain
    )


def _read_fitness(data: Json, where: str = "task fitness") -> Fitness:
    _only(data, {f.name for f in dataclasses.fields(Fitness)}, where)
    parts = _sequence(data.get("parts", ()), f"{where}: parts")
    return Fitness(
        kind=cast(FitnessKind, data.get("kind", "return")),  # `check_fitness` holds it to the list
        where=_optional(data, "where", _string, where),
        field=_optional(data, "field", _string, where),
        over=cast("Reduction | None", data.get("over")),
        horizon=_optional(data, "horizon", _whole, where),
        goal=_optional(data, "goal", _real, where),
        parts=tuple(
            _read_fitness(_mapping(part, f"{where}: part {i}"), f"{where}: part {i}")
            for i, part in enumerate(parts)
        ),
    )


def _read_field(data: Json) -> Field:
    where = f"field {data.get('name', '?')!r}"
    _only(data, {f.name for f in dataclasses.fields(Field)}, where)
    source = _text(data, "source", where)
    default = ("policy", "reward") if source.startswith("obs") else ("reward",)
    visible = _sequence(data.get("visible", default), f"{where}: visible")
    return Field(
        name=_text(data, "name", where),
        source=source,
        unit=_text(data, "unit", where) if "unit" in data else "1",
        low=_optional(data, "low", _real, where),
        high=_optional(data, "high", _real, where),
        meaning=_text(data, "meaning", where) if "meaning" in data else "",
        visible=cast("tuple[Visibility, ...]", tuple(visible)),
    )


def _read_training(data: Json) -> dict[str, object]:
    _only(data, {f.name for f in dataclasses.fields(Training)}, "task training")
    return dict(data)


def _only(data: Json, known: Iterable[str], where: str) -> None:
    known = sorted(known)
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise InvalidInput(
                f"entry {key!r}",
                expected=f"only {', '.join(known)}",
                where=where,
                hint=f"Did you mean {near[0]}?" if near else None,
            )


def _optional(data: Json, key: str, read: Callable[[object, str], T], where: str) -> T | None:
    value = data.get(key)
    return None if value is None else read(value, f"{where}: {key}")


def _text(data: Json, key: str, where: str) -> str:
    if key not in data:
        raise InvalidInput("nothing", expected=f"an entry {key!r}", where=where)
    return _string(data[key], f"{where}: {key}")


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(repr(value), expected="a text", where=where)
    return value


def _whole(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(repr(value), expected="a whole number", where=where)
    return value


def _real(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(repr(value), expected="a finite number", where=where)
    return float(value)


def _mapping(value: object, where: str) -> Json:
    if not isinstance(value, Mapping):
        raise InvalidInput(repr(value), expected="a table of named entries", where=where)
    return value


def _sequence(value: object, where: str) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidInput(repr(value), expected="a list", where=where)
    return value


def _without_none(data: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in data.items() if value is not None}
