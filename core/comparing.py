"""Candidates beside each other: who did better, with what numbers, and what they do differently.

The native reward of every job stands among them, so that nobody forgets what is to be beaten.  All
sides are compared on the same ground:

    confirm   fresh seeds, if every side was trained on them
    search    else the highest rung that all candidates reached
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Literal, TypeAlias

from core.records.kinds import NATIVE, TermKind
from core.records.measured import Report, Run, TermStatistics
from core.records.outcome import Interval
from core.records.rounds import Candidate
from core.records.spec import JobSpec
from core.rungs import reached
from core.statistics import bootstrap_interval, difference_interval, probability_of_improvement

FEWEST, MOST = 2, 6  # candidates beside each other
Ground: TypeAlias = Literal["confirm", "search"]
Setting: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Contestant:
    """What is known of one side before the comparison.

    Attributes:
        name:      unique among the sides; a candidate's id, or that of a native reward.
        job:       whose side it is.
        spec:      of that job.
        floor:     fitness of the random policy there: what a failed run of a candidate counts as.
        candidate: None for the native reward.
        runs:      those of the search (of a native reward: of the baseline) and of the confirmation.
        report:    on its components and features, if there is one.
    """

    name: str
    job: str
    spec: JobSpec
    floor: float
    candidate: Candidate | None
    runs: tuple[Run, ...]
    report: Report | None = None

    @property
    def arm(self) -> str:
        """The key of its runs in its job."""
        return NATIVE if self.candidate is None else self.candidate.key


@dataclass(frozen=True, slots=True)
class Side:
    """One side in numbers.

    Attributes:
        runs:    that are compared, in order of their seed.
        values:  their fitness; of a failed run of a candidate that of the random policy.
        fitness: mean and interval of these; None without any.
        failed:  how many of the runs failed.
    """

    name: str
    job: str
    arm: str
    task: str
    runs: tuple[Run, ...]
    values: tuple[float, ...]
    fitness: Interval | None
    failed: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """The training seeds of the runs."""
        return tuple(run.seed for run in self.runs)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides that both have numbers.

    `probability` is the chance that a run of `first` is better than a run of `second`, ties counting
    half; `difference` is mean(first) − mean(second).
    """

    first: str
    second: str
    probability: float
    difference: Interval


@dataclass(frozen=True, slots=True)
class TermRow:
    """One component or feature; the statistics of each side that has it, by name of the side.

    `differs` tells whether it is missing on some side that has a program.
    """

    kind: TermKind
    name: str
    cells: Mapping[str, TermStatistics]
    differs: bool


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One number or choice, such as `training.steps` or `params.near`; by name of the side.

    A side to which it means nothing, such as the native reward to `params`, has no cell and differs
    from nobody.
    """

    name: str
    cells: Mapping[str, Setting]
    differs: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sides in the order in which they were asked for, native rewards last.

    Attributes:
        ground: on which runs.
        rung:   the rung of a comparison by the search, 0 otherwise.
        notes:  what a reader has to know before trusting the numbers, in sentences.
    """

    ground: Ground
    rung: int
    sides: tuple[Side, ...]
    pairs: tuple[Pair, ...]
    terms: tuple[TermRow, ...]
    settings: tuple[SettingRow, ...]
    notes: tuple[str, ...]


def compare(contestants: Sequence[Contestant]) -> Comparison:
    """Compare candidates with each other and with the native rewards of their jobs.

    Args:
        contestants: at least one candidate; names are unique.
    """
    ground, rung = common_ground(contestants)
    sides = tuple(_side(one, ground, rung) for one in contestants)
    return Comparison(
        ground=ground,
        rung=rung,
        sides=sides,
        pairs=tuple(_pairs(sides)),
        terms=tuple(_terms(contestants)),
        settings=tuple(_settings(contestants)),
        notes=tuple(_notes(contestants, sides, ground, rung)),
    )


# --- fitness ----------------------------------------------------------------------------------


def common_ground(contestants: Sequence[Contestant]) -> tuple[Ground, int]:
    """Return on which runs all sides can be compared."""
    if all(any(run.stage == "confirm" for run in one.runs) for one in contestants):
        return "confirm", 0
    rungs = [reached(one.candidate) for one in contestants if one.candidate is not None]
    return "search", max(0, min(rungs, default=0))


def _side(one: Contestant, ground: Ground, rung: int) -> Side:
    runs = sorted(_runs_on(one, ground, rung), key=lambda run: run.seed)
    known = runs if one.candidate else [run for run in runs if run.fitness is not None]
    values = tuple(one.floor if run.fitness is None else run.fitness for run in known)
    return Side(
        name=one.name,
        job=one.job,
        arm=one.arm,
        task=one.spec.task.name,
        runs=tuple(known),
        values=values,
        fitness=bootstrap_interval(values) if values else None,
        failed=sum(run.fitness is None for run in runs),
    )


def _runs_on(one: Contestant, ground: Ground, rung: int) -> list[Run]:
    if ground == "confirm":
        return [run for run in one.runs if run.stage == "confirm"]
    if one.candidate is None:
        return [run for run in one.runs if run.stage == "baseline"]  # all its steps at once
    return [run for run in one.runs if run.stage == "search" and run.rung == rung]


def _pairs(sides: Sequence[Side]) -> Iterator[Pair]:
    for first, second in combinations([side for side in sides if side.values], 2):
        yield Pair(
            first.name,
            second.name,
            probability_of_improvement(first.values, second.values),
            difference_interval(first.values, second.values),
        )


# --- what the programs are made of ------------------------------------------------------------


def _terms(contestants: Sequence[Contestant]) -> Iterator[TermRow]:
    programs = [one for one in contestants if one.candidate and one.candidate.program]
    parts: tuple[tuple[TermKind, Callable[[Contestant], Mapping[str, TermStatistics]]], ...] = (
        ("component", lambda one: one.report.components if one.report else {}),
        ("feature", lambda one: one.report.features if one.report else {}),
    )
    for kind, read in parts:
        for name in dict.fromkeys(name for one in programs for name in _names(one, kind)):
            cells = {one.name: read(one)[name] for one in programs if name in read(one)}
            missing = any(name not in _names(one, kind) for one in programs)
            yield TermRow(kind, name, cells, missing)


def _names(one: Contestant, kind: TermKind) -> Sequence[str]:
    """Return the terms of a program, measured or not."""
    shape = one.candidate.shape if one.candidate else None
    report = one.report or Report()
    known = (shape.components if kind == "component" else shape.features) if shape else ()
    measured = report.components if kind == "component" else report.features
    return tuple(dict.fromkeys([*known, *measured]))


# --- numbers and choices ----------------------------------------------------------------------


def _settings(contestants: Sequence[Contestant]) -> Iterator[SettingRow]:
    columns = {one.name: dict(_settings_of(one)) for one in contestants}
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        cells = {side: column[name] for side, column in columns.items() if name in column}
        expected = [one for one in contestants if one.candidate or not _of_a_program(name)]
        told = [cells.get(one.name) for one in expected]
        yield SettingRow(name, cells, differs=any(value != told[0] for value in told[1:]))


def _of_a_program(name: str) -> bool:
    return name.startswith(("params.", "candidate."))


def _settings_of(one: Contestant) -> Iterator[tuple[str, Setting]]:
    candidate = one.candidate
    if candidate is not None:
        yield "candidate.operator", candidate.operator
        yield "candidate.iteration", candidate.iteration
        yield "candidate.parents", ", ".join(candidate.parents)
        program = candidate.program
        yield from (
            (f"params.{name}", v) for name, v in (program.params if program else {}).items()
        )
    spec = one.spec
    yield "task", spec.task.name
    for name in ("method", "mode", "weight", "design", "seed", "iterations", "candidates"):
        yield name, getattr(spec, name)
    for part in ("designer", "training", "evaluation"):
        yield from _flat(part, asdict(getattr(spec, part)))


def _flat(name: str, value: object) -> Iterator[tuple[str, Setting]]:
    """Yield the leaves of nested values under dotted names; a list is one leaf, written out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif value is None or isinstance(value, str | int | float | bool):
        yield name, value
    else:
        yield name, str(list(value) if isinstance(value, tuple) else value)


# --- what has to be said ----------------------------------------------------------------------


def _notes(
    contestants: Sequence[Contestant], sides: Sequence[Side], ground: Ground, rung: int
) -> Iterator[str]:
    if len({one.spec.task.name for one in contestants}) > 1:
        yield "These candidates are of different tasks; their fitness has no common scale."
    elif any(one.spec.task != contestants[0].spec.task for one in contestants):
        yield "The jobs describe their task differently; look at what fitness means in each."
    if ground == "search":
        yield from _notes_on_search(contestants, rung)
    elif len({side.seeds for side in sides}) > 1:
        yield "Not all sides were trained with the same seeds."
    for side in sides:
        if side.failed and side.arm != NATIVE:
            yield f"{side.name}: {side.failed} failed runs count as the random policy's fitness."
        if not side.values:
            yield f"{side.name} was not measured here."


def _notes_on_search(contestants: Sequence[Contestant], rung: int) -> Iterator[str]:
    yield (
        "Not all sides were confirmed on fresh seeds: these are numbers of the search, from which the "
        "best was chosen, so they flatter."
    )
    if any(rung < len(one.spec.training.rungs) - 1 for one in contestants):
        yield "The native reward was trained for all its steps, candidates up to the shared rung."
