"""Fitness: how well an episode was done, measured on the untouched environment.

A fitness is a small value (`core.records.task.Fitness`), never code.  Its condition is a conjunction of
comparisons over fields, read with `ast` and evaluated by this file alone:

    0.75 < cart_position < 1.25 and abs(pole_angle) < 0.1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from core.conditions import (
    Condition,
    Doubles,
    Value,
    Values,
    check_index,
    evaluate,
    holds,
    parse_term,
    parse_where,
    read_by,
    unknown_field,
)
from core.errors import InvalidFitness
from core.fields import read_source
from core.records.task import Field, Fitness

__all__ = [
    "Condition",
    "check_fitness",
    "describe",
    "episode_fitness",
    "fields_of",
    "parse_where",
    "step_fitness",
]

Series: TypeAlias = npt.NDArray[np.floating]
T = TypeVar("T")

MOST_STEPS = 10_000  # of an episode, where the environment has no time limit
MOST_PARTS = 8
_REDUCE: Mapping[str, Callable[[Doubles], float]] = {
    "mean": lambda x: float(x.mean()),
    "max": lambda x: float(x.max()),
    "min": lambda x: float(x.min()),
    "last": lambda x: float(x[-1]),
    "sum": lambda x: float(x.sum()),
}


# --- measuring --------------------------------------------------------------------------------


def episode_fitness(fitness: Fitness, values: Values, native: Series) -> float:
    """Measure one episode.

    Args:
        fitness: what is measured.
        values:  field name -> [T] or [T, n], the fields of the NEXT state of every lived step.
        native:  [T] native reward of every lived step.

    Returns:
        One number, higher is better.

    Raises:
        InvalidFitness: a field is missing from `values`, or the fitness cannot be read.
        ValueError: the episode has no step.

    Example:
        >>> near = Fitness("share", where="x > 1", horizon=4)
        >>> episode_fitness(near, {"x": np.array([0.0, 2.0, 3.0])}, np.zeros(3))
        0.5
    """
    if len(native) == 0:
        raise ValueError("an episode has at least one step, but there is none")
    if fitness.kind == "return":
        return float(np.sum(native, dtype=np.float64))
    if fitness.kind == "least":
        return min(episode_fitness(part, values, native) for part in fitness.parts)
    if fitness.kind == "statistic":
        return _REDUCE[fitness.over or "mean"](_statistic_values(fitness, values))
    held = holds(parse_where(_required(fitness.where, "where")), values, len(native))
    if fitness.kind == "share":
        return float(held.sum()) / _required(fitness.horizon, "horizon")
    return float(held[-1] if fitness.over == "last" else held.any())


def step_fitness(fitness: Fitness, values: Values, native: Series) -> Doubles:
    """Spread the fitness of one episode over its steps; the sum over [T] is `episode_fitness`.

    kind                 per step
    return               the native reward
    success, over any    1 at the first step at which `where` holds, 0 elsewhere
    success, over last   +1 when `where` becomes true, -1 when it becomes false again
    share                1 / horizon at each step at which `where` holds
    statistic, mean      field / T
    statistic, sum       field
    statistic, last      change of the field since the step before; the first step has its value
    statistic, max, min  change of the largest (smallest) value so far
    least                change of the smallest of its parts' sums so far

    Args and errors as `episode_fitness`.
    """
    if len(native) == 0:
        raise ValueError("an episode has at least one step, but there is none")
    if fitness.kind == "return":
        return np.asarray(native, dtype=np.float64)
    if fitness.kind == "least":
        steps = [step_fitness(part, values, native) for part in fitness.parts]
        return _changes(np.cumsum(steps, axis=1).min(axis=0))
    if fitness.kind == "statistic":
        return _statistic_steps(fitness.over or "mean", _statistic_values(fitness, values))
    held = holds(parse_where(_required(fitness.where, "where")), values, len(native))
    if fitness.kind == "share":
        return held.astype(np.float64) / _required(fitness.horizon, "horizon")
    so_far = held if fitness.over == "last" else np.logical_or.accumulate(held)
    return _changes(so_far.astype(np.float64))


def _statistic_values(fitness: Fitness, values: Values) -> Doubles:
    return evaluate(parse_term(_required(fitness.field, "field")), values)


def _statistic_steps(over: str, series: Doubles) -> Doubles:
    if over == "sum":
        return series
    if over == "mean":
        return series / len(series)
    if over == "max":
        return _changes(np.maximum.accumulate(series))
    if over == "min":
        return _changes(np.minimum.accumulate(series))
    return _changes(series)


def _changes(so_far: Doubles) -> Doubles:
    return np.diff(so_far, prepend=0.0)


# --- checking ---------------------------------------------------------------------------------


def fields_of(fitness: Fitness) -> set[str]:
    """Return the names of the fields that the fitness reads.

    >>> sorted(fields_of(Fitness("success", where="x > 1 and abs(v[2]) < y")))
    ['v', 'x', 'y']

    Raises:
        InvalidFitness: it cannot be read.
    """
    return {value.name for value in _values_of(fitness)}


def check_fitness(fitness: Fitness, fields: Sequence[Field] = ()) -> None:
    """Hold a fitness to the rules of its kind, and to the task's fields if they are known.

    Raises:
        InvalidFitness: says which entry, what was expected and what was found.
    """
    _check_entries(fitness)
    _check_over(fitness)
    _check_parts(fitness)
    if fitness.horizon is not None and fitness.horizon < 1:
        raise InvalidFitness(
            f"horizon = {fitness.horizon}", expected="a positive number of steps", where="fitness"
        )
    values = _values_of(fitness)
    if fields:
        _check_against(values, fields)


_ENTRIES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {  # kind -> required, optional
    "return": (frozenset(), frozenset()),
    "success": (frozenset({"where"}), frozenset({"over"})),
    "share": (frozenset({"where", "horizon"}), frozenset()),
    "statistic": (frozenset({"field", "over"}), frozenset()),
    "least": (frozenset({"parts"}), frozenset()),
}
_OVER: Mapping[str, tuple[str, ...]] = {
    "success": ("any", "last"),
    "statistic": tuple(_REDUCE),
}


def _check_entries(fitness: Fitness) -> None:
    if fitness.kind not in _ENTRIES:
        raise InvalidFitness(
            f"kind = {fitness.kind!r}", expected=f"one of {', '.join(_ENTRIES)}", where="fitness"
        )
    required, optional = _ENTRIES[fitness.kind]
    entries = ("where", "field", "over", "horizon", "parts")
    given = {name for name in entries if getattr(fitness, name) not in (None, ())}
    if missing := sorted(required - given):
        raise InvalidFitness(
            f"no {', '.join(missing)}",
            expected=f"{_listed(required)} for the kind {fitness.kind!r}",
            where="fitness",
        )
    if surplus := sorted(given - required - optional):
        allowed = required | optional
        raise InvalidFitness(
            f"{', '.join(surplus)} as well",
            expected=f"{_listed(allowed) or 'no further entry'} for the kind {fitness.kind!r}",
            where="fitness",
            hint="Remove what the kind does not use.",
        )


def _check_over(fitness: Fitness) -> None:
    allowed = _OVER.get(fitness.kind, ())
    if fitness.over is not None and fitness.over not in allowed:
        raise InvalidFitness(
            f"over = {fitness.over!r}",
            expected=f"one of {', '.join(allowed)} for the kind {fitness.kind!r}",
            where="fitness",
        )


def _check_parts(fitness: Fitness) -> None:
    if fitness.kind == "least" and not 2 <= len(fitness.parts) <= MOST_PARTS:
        raise InvalidFitness(
            f"{len(fitness.parts)} parts", expected=f"2 to {MOST_PARTS} parts", where="fitness"
        )
    for part in fitness.parts:
        if part.kind == "least" or part.goal is not None:
            raise InvalidFitness(
                "a part with a goal" if part.goal is not None else "a part of the kind 'least'",
                expected="parts of the other kinds, and one goal for the whole",
                where="fitness parts",
            )
        check_fitness(part)


def _check_against(values: Iterable[Value], fields: Sequence[Field]) -> None:
    known = {field.name: field for field in fields}
    for value in values:
        if value.name not in known:
            raise unknown_field(value.name, known)
        source = read_source(known[value.name])
        check_index(value, None if source.stop is None else source.size)


def _required(entry: T | None, name: str) -> T:
    if entry is None:
        raise InvalidFitness(f"no {name}", expected=f"an entry {name!r}", where="fitness")
    return entry


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))


def _values_of(fitness: Fitness) -> tuple[Value, ...]:
    found: list[Value] = []
    if fitness.where is not None:
        for comparison in parse_where(fitness.where).comparisons:
            found += [*read_by(comparison.left), *read_by(comparison.right)]
    if fitness.field is not None:
        found += read_by(parse_term(fitness.field))
    for part in fitness.parts:
        found += _values_of(part)
    return tuple(found)


# --- words ------------------------------------------------------------------------------------


def describe(fitness: Fitness, fields: Sequence[Field] = ()) -> str:
    """Say in one sentence, with units, what is measured.

    >>> describe(Fitness("share", where="x > 1", horizon=500), [Field("x", "obs[0]", unit="m")])
    'The share of 500 steps at which x > 1 (x in m); steps that are not lived count as false.'

    Raises:
        InvalidFitness: the fitness cannot be read.
    """
    goal = "" if fitness.goal is None else f"; solved at {fitness.goal:g}"
    return f"{_words(fitness)}{_units(fitness, fields)}{_footnote(fitness)}{goal}."


def _words(fitness: Fitness) -> str:
    if fitness.kind == "return":
        return "The sum of the environment's own reward over the episode"
    if fitness.kind == "share":
        return f"The share of {fitness.horizon} steps at which {fitness.where}"
    if fitness.kind == "success":
        when = "at the last step" if fitness.over == "last" else "at any step"
        return f"1 if {fitness.where} {when} of the episode, else 0"
    if fitness.kind == "least":
        parts = [f"({i}) {_lowered(_words(part))}" for i, part in enumerate(fitness.parts, 1)]
        return f"The smallest of {', '.join(parts[:-1])} and {parts[-1]}"
    words = {
        "mean": "mean of {} over the episode",
        "max": "largest {} of the episode",
        "min": "smallest {} of the episode",
        "last": "{} at the last step of the episode",
        "sum": "sum of {} over the episode",
    }
    return "The " + words[fitness.over or "mean"].format(fitness.field)


def _units(fitness: Fitness, fields: Sequence[Field]) -> str:
    read = fields_of(fitness)
    named = [f"{f.name} in {f.unit}" for f in fields if f.name in read and f.unit != "1"]
    return f" ({', '.join(named)})" if named else ""


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _footnote(fitness: Fitness) -> str:
    shares = [fitness, *fitness.parts]
    told = any(part.kind == "share" for part in shares)
    return "; steps that are not lived count as false" if told else ""
