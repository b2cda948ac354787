"""The ablations: the same jobs with one thing changed, on a few tasks of the ladder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, TypeAlias

from bench.design.ladder import Entry
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

LEAN = ""
FULL_TRAINING = "full training of all candidates"
WANTED_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the same job.

    Attributes:
        name:     stands in keys and tables.
        question: what it is compared for.
        changes:  laid over the request of a lean job.
        reader:   whether only a designer that reads the statistics can be changed by it.
    """

    name: str
    question: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    reader: bool = False


VARIANTS: tuple[Variant, ...] = (
    Variant(
        FULL_TRAINING,
        "screens and halving",
        {"training": {"rungs": [1.0]}, "screens": []},
    ),
    Variant("reward only", "what is designed", {"design": "reward"}),
    Variant("features only", "what is designed", {"design": "features"}),
    Variant("smoothness as in LESR", "smoothness", {"smoothness": "lesr"}, reader=True),
    Variant("no smoothness", "smoothness", {"smoothness": "none"}, reader=True),
)

NOT_READ = (
    "The designer `evolution` reads no smoothness of a feature, so the three forms of the smoothness "
    "statistic give it the same questions and the same programs, and nothing can be shown with it; "
    "`--ablations --designer openai` runs them, for a model reads them."
)


def variants_for(designer: Mapping[str, Any]) -> list[Variant]:
    """Return the variants that can make a difference with a designer."""
    return [v for v in VARIANTS if not v.reader or designer["name"] != "evolution"]


def ablation_works(order: Order) -> Iterator[Work]:
    """Say which jobs the ablations need; the lean ones among them are those of the ladder."""
    for repetition in range(order.scale.repetitions):
        for entry in ablated(order):
            for variant in (Variant(LEAN, ""), *variants_for(order.designer)):
                yield job_work(
                    entry,
                    order.scale,
                    repetition,
                    order.designer,
                    variant.name,
                    **variant.changes,
                )


def ablated(order: Order) -> list[Entry]:
    """Return the tasks of the ablations, in order."""
    return [entry for entry in order.scale.entries if entry.task in order.scale.ablated]


def compare_all(order: Order, cells: Cells) -> list[Json]:
    """Return a comparison per task and variant, of those jobs that both have finished."""
    return [
        found
        for entry in ablated(order)
        for variant in variants_for(order.designer)
        if (found := compared(entry, variant, order, cells)) is not None
    ]


def compared(entry: Entry, variant: Variant, order: Order, cells: Cells) -> Json | None:
    """Compare lean jobs with those of a variant, job seed by job seed; None where none is finished."""
    lean = {c["key"]["seed"]: c for c in jobs_of(entry, order, cells)}
    jobs = jobs_of(entry, order, cells, variant.name, **variant.changes)
    other = {c["key"]["seed"]: c for c in jobs}
    seeds = sorted(lean.keys() & other.keys())
    if not seeds:
        return None
    expected = confirm_seeds(order.scale)
    ours = [designed_values(lean[seed], expected) for seed in seeds]
    theirs = [designed_values(other[seed], expected) for seed in seeds]
    steps = [_search_steps([side[seed] for seed in seeds]) for side in (lean, other)]
    found = {
        "task": entry.task,
        "variant": variant.name,
        "question": variant.question,
        "job_seeds": seeds,
        "lean": {"fitness": _interval(ours), "search_env_steps": steps[0]},
        "other": {"fitness": _interval(theirs), "search_env_steps": steps[1]},
        "verdict": ruling([v for vs in ours for v in vs], [v for vs in theirs for v in vs]),
        "share_of_env_steps": round(steps[0] / steps[1], 3) if steps[1] else None,
        "screened": sum(lean[seed]["screened"] for seed in seeds),
        "saved_steps": sum(lean[seed]["saved_steps"] for seed in seeds),
    }
    if variant.name == FULL_TRAINING:
        found["reached"] = [reached(lean[seed]["search"], other[seed]["search"]) for seed in seeds]
    return found


def reached(lean: Sequence[Json], full: Sequence[Json]) -> Json:
    """Say what it cost the lean search to reach what the full one had found in the end.

    Costs are those of whole iterations, in environment steps of the search, on the search's own seeds.
    The full search takes the luckiest of more candidates, so this is hard on the lean one; what the two
    designs are worth is said by the fresh seeds.
    """
    target = full[-1]["fitness"] if full else None
    if target is None:
        return {"target": None, "lean": None, "full": None, "share": None}
    ours = _steps_to(target, lean)
    theirs = _steps_to(target, full)
    share = round(ours / theirs, 3) if ours is not None and theirs else None
    return {"target": target, "lean": ours, "full": theirs, "share": share}


def _steps_to(target: float, course: Sequence[Json]) -> int | None:
    for point in course:
        if point["fitness"] is not None and point["fitness"] >= target:
            return int(point["env_steps"])
    return None


def _search_steps(jobs: Sequence[Cell]) -> int:
    return round(fmean(job["search"][-1]["env_steps"] if job["search"] else 0 for job in jobs))


def _interval(groups: Sequence[Sequence[float]]) -> Json:
    return interval_json(nested_interval(groups), [v for group in groups for v in group])
