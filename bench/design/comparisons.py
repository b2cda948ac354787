"""The ablations: the same jobs with one thing changed, on a few tasks of the ladder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, TypeAlias

from bench.design.ladder import EVOLUTION, Entry, Scale
from bench.design.ladder import FULL as WHOLE
from bench.design.scoring import (
    Cell,
    confirm_seeds,
    designed_values,
    interval_json,
    jobs_of,
    nested_interval,
    ruling,
)
from bench.design.work import Order, Work, job_work
from bench.trainer.cells import Cells

Json: TypeAlias = dict[str, Any]

FULL_TRAINING = "full training of all candidates"
HALVING = "screens and halving"
WANTED_SHARE = 0.35
FEWEST_JOBS = 4  # a side: all of one above all of the other has p = 2/70
MORE_JOBS: Mapping[str, int] = {"mountaincar": 8}
"""Jobs of `evolution` a side, where three left a doubt of halving: two seeds cannot tell programs apart
there, so what a job picks is luck, and three jobs a side say whose luck was better."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the same job.

    Attributes:
        name:     stands in keys and tables.
        question: what it is compared for.
        changes:  laid over the request of a lean job.
        reader:   whether only a designer that reads the statistics can be changed by it.
        tasks:    on which it is run at full scale; empty for those of the scale.
    """

    name: str
    question: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    reader: bool = False
    tasks: tuple[str, ...] = ()


LEAN = Variant("", HALVING)
FULL = Variant(FULL_TRAINING, HALVING, {"training": {"rungs": [1.0]}, "screens": []})
HALVES = Variant("halves", HALVING, {"training": {"rungs": [0.2, 0.45, 1.0], "keep": 0.5}})
"""Six candidates, then three, then two: half of the steps."""
THREE_RUNGS = Variant("three rungs", HALVING, {"training": {"rungs": [0.2, 0.28, 1.0]}})
"""Six candidates, then two, then one: 35 % of the steps before screens save any, and, on measured
curves, 98 % of the way of full training (docs/results/rungs.md); the lean job takes 57 % of them."""

RUNOFF = Variant(
    "with a runoff",
    "what a runoff adds",
    {"evaluation": {**WHOLE.job["evaluation"], "runoff_candidates": 4}},
    tasks=(
        *("cartpole", "pendulum", "mountaincar", "mountaincar-continuous", "acrobot"),
        *("cartpole-park", "pendulum-swing", "mountaincar-rest"),
    ),
)
"""As a job of the usual size has it; on those tasks whose jobs take a minute or less."""

VARIANTS: tuple[Variant, ...] = (
    FULL,
    HALVES,
    THREE_RUNGS,
    RUNOFF,
    Variant("reward only", "what is designed", {"design": "reward"}),
    Variant("features only", "what is designed", {"design": "features"}),
    Variant("smoothness as in LESR", "smoothness", {"smoothness": "lesr"}, reader=True),
    Variant("no smoothness", "smoothness", {"smoothness": "none"}, reader=True),
)

NOT_READ = (
    "The designer `evolution` reads no smoothness of a feature, so the three forms of the smoothness "
    "statistic give it the same questions and the same programs, and nothing can be shown with it; "
    "`--ablations --designer openai` runs them, for a model reads them: "
    "[design-openai.md](design-openai.md)."
)


def variants_for(designer: Mapping[str, Any]) -> list[Variant]:
    """Return the variants that can make a difference with a designer."""
    return [v for v in VARIANTS if not v.reader or designer["name"] != "evolution"]


def ablation_works(order: Order) -> Iterator[Work]:
    """Say which jobs the ablations need; the lean ones among them are those of the ladder."""
    scale, designer = order.scale, order.designer
    for number in range(most_jobs(scale)):
        for variant in (LEAN, *variants_for(designer)):
            for entry in ablated(scale, variant):
                if number < jobs_a_side(entry, variant, scale, designer):
                    yield job_work(entry, scale, number, designer, variant.name, **variant.changes)


def jobs_a_side(
    entry: Entry, variant: Variant, scale: Scale, designer: Mapping[str, Any] = EVOLUTION
) -> int:
    """Return how many jobs of a variant are wanted on a task."""
    usual = scale.repetitions == WHOLE.repetitions and scale.name == WHOLE.name
    doubted = usual and variant.question == HALVING and designer == EVOLUTION
    return MORE_JOBS.get(entry.task, scale.repetitions) if doubted else scale.repetitions


def most_jobs(scale: Scale) -> int:
    """Return how many jobs of a variant there may be on any task."""
    return max(scale.repetitions, *MORE_JOBS.values())


def ablated(scale: Scale, variant: Variant) -> list[Entry]:
    """Return the tasks of a variant, in order."""
    own = variant.tasks if scale.name == WHOLE.name else ()
    return [entry for entry in scale.entries if entry.task in (own or scale.ablated)]


def compare_all(order: Order, cells: Cells) -> list[Json]:
    """Return a comparison per task and pair of variants, of those jobs that both have finished."""
    order = replace(order, scale=replace(order.scale, repetitions=most_jobs(order.scale)))
    return [
        found
        for entry in order.scale.entries
        for first, second in pairs(variants_for(order.designer))
        if entry in ablated(order.scale, second)
        and (found := compared(entry, first, second, order, cells)) is not None
    ]


def pairs(variants: Sequence[Variant]) -> list[tuple[Variant, Variant]]:
    """Say who is compared with whom: every variant with the lean jobs, and what saves most with full.

    >>> [(a.name, b.name) for a, b in pairs([FULL, THREE_RUNGS])][-1]
    ('three rungs', 'full training of all candidates')
    """
    sparing = [v for v in (HALVES, THREE_RUNGS) if v in variants]
    return [(LEAN, v) for v in variants if v not in sparing] + [(v, FULL) for v in sparing]


def compared(
    entry: Entry, first: Variant, second: Variant, order: Order, cells: Cells
) -> Json | None:
    """Compare the jobs of two variants, job seed by job seed; None where no seed has both."""
    ours, theirs = (
        {c["key"]["seed"]: c for c in jobs_of(entry, order, cells, v.name, **v.changes)}
        for v in (first, second)
    )
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    sides = [[jobs[seed] for seed in seeds] for jobs in (ours, theirs)]
    values = [[designed_values(job, confirm_seeds(order.scale)) for job in jobs] for jobs in sides]
    steps = [_search_steps(jobs) for jobs in sides]
    found = {
        "task": entry.task,
        "first": first.name or "lean",
        "variant": second.name,
        "question": second.question,
        "job_seeds": seeds,
        "ours": {"fitness": _interval(values[0]), "search_env_steps": steps[0]},
        "other": {"fitness": _interval(values[1]), "search_env_steps": steps[1]},
        "verdict": ruling(*([v for vs in side for v in vs] for side in values)),
        "verdict_of_jobs": ruling_of_jobs(*values),
        "share_of_env_steps": round(steps[0] / steps[1], 3) if steps[1] else None,
        "screened": sum(job["screened"] for job in sides[0]),
        "saved_steps": sum(job["saved_steps"] for job in sides[0]),
    }
    if second is FULL:
        found["reached"] = [reached(ours[seed]["search"], theirs[seed]["search"]) for seed in seeds]
    return found


def ruling_of_jobs(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]
) -> str | None:
    """Return the verdict on jobs' means; None where so few jobs could never tell two sides apart."""
    if len(ours) < FEWEST_JOBS:
        return None
    return ruling([fmean(values) for values in ours], [fmean(values) for values in theirs])


def reached(sparing: Sequence[Json], full: Sequence[Json]) -> Json:
    """Say what it cost a sparing search to reach what the full one had found in the end.

    Costs are those of whole iterations, in environment steps of the search, on the search's own seeds.
    The full search takes the luckiest of more candidates, so this is hard on the other; what the two
    designs are worth is said by the fresh seeds.
    """
    target = full[-1]["fitness"] if full else None
    if target is None:
        return {"target": None, "sparing": None, "full": None, "share": None}
    ours = _steps_to(target, sparing)
    theirs = _steps_to(target, full)
    share = round(ours / theirs, 3) if ours is not None and theirs else None
    return {"target": target, "sparing": ours, "full": theirs, "share": share}


def _steps_to(target: float, course: Sequence[Json]) -> int | None:
    for point in course:
        if point["fitness"] is not None and point["fitness"] >= target:
            return int(point["env_steps"])
    return None


def _search_steps(jobs: Sequence[Cell]) -> int:
    return round(fmean(job["search"][-1]["env_steps"] if job["search"] else 0 for job in jobs))


def _interval(groups: Sequence[Sequence[float]]) -> Json:
    return interval_json(nested_interval(groups), [v for group in groups for v in group])
