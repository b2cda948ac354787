"""Learning curves of a candidate: each seed, their mean, and the band between best and worst."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from api.pages.charts import Line
from api.pages.series import COLOURS, DASHES, Style
from core.records.measured import Run, TermStatistics
from core.statistics import mean

Points = list[tuple[int, float]]


def measured(runs: Sequence[Run], stage: str = "search") -> Mapping[int, Points]:
    """Return (environment steps, fitness) as the scorer measured them on the way, by seed."""
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for run in runs:
        if run.stage == stage:
            found[run.seed].update(dict(run.checkpoints))
            if run.fitness is not None and run.env_steps and not run.checkpoints:
                found[run.seed][run.env_steps] = run.fitness
    return {seed: sorted(points.items()) for seed, points in sorted(found.items()) if points}


def said(runs: Sequence[Run], series: str) -> Mapping[int, Points]:
    """Return what runs said of themselves while training, by seed."""
    found: dict[int, Points] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.rung):
        if run.curve is not None and series in run.curve.series:
            values = run.curve.series[series]
            found[run.seed] += list(zip(run.curve.steps, values, strict=True))
    return dict(found)


def seed_lines(points: Mapping[int, Points], style: Style) -> list[Line]:
    """Return a line for each seed, and their mean with its band where there are several."""
    seeds = [
        Line(f"seed {seed}", *_unzipped(found), Style(style.colour, (place + 1) % DASHES))
        for place, (seed, found) in enumerate(points.items())
    ]
    if len(seeds) < 2:
        return seeds
    return [*seeds, mean_line("mean of the seeds", points, Style(style.colour, 0))]


def mean_line(name: str, points: Mapping[int, Points], style: Style) -> Line:
    """Return the mean over the seeds that were measured at a step, in a band from lowest to highest."""
    at: dict[int, list[float]] = defaultdict(list)
    for found in points.values():
        for x, y in found:
            at[x].append(y)
    xs = sorted(at)
    band = ([min(at[x]) for x in xs], [max(at[x]) for x in xs])
    return Line(name, xs, [mean(at[x]) for x in xs], style, band if len(points) > 1 else None)


def component_lines(components: Mapping[str, TermStatistics]) -> list[Line]:
    """Return the mean of each component per step at each checkpoint, first to last."""
    return [
        Line(
            name,
            list(range(1, len(term.by_checkpoint) + 1)),
            list(term.by_checkpoint),
            Style(place % COLOURS, place // COLOURS % DASHES),
        )
        for place, (name, term) in enumerate(components.items())
        if term.by_checkpoint
    ]


def _unzipped(points: Points) -> tuple[list[int], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
