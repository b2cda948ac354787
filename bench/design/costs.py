"""What the ladder will cost: environment steps by the loop's own count, time by measured speeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.design.arms import DESIGNED
from bench.design.comparisons import Variant, ablated, jobs_a_side
from bench.design.ladder import EVOLUTION, Entry, Scale, spec_for
from bench.design.work import is_trained
from bench.trainer.tables import table
from core.budgets import planned_cost
from core.records.kinds import NATIVE
from core.records.spec import JobSpec
from core.rungs import survivors

OVERHEAD_SECONDS = 0.6  # of a step of a job besides its training: processes, probing, examining


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one task, all repetitions: environment steps while training and while scoring, and seconds."""

    task: str
    jobs: int
    fixed: int
    scoring: int
    seconds: float


def cost_of(entry: Entry, scale: Scale, arms: list[str]) -> Cost:
    """Plan one task; scoring is counted with episodes that last to their time limit."""
    spec, times = spec_for(entry, scale), scale.repetitions
    jobs = times * planned_cost(spec) if DESIGNED in arms else 0
    alone = [
        arm
        for arm in arms
        if arm != DESIGNED
        and is_trained(arm, entry, scale)
        and (arm != NATIVE or DESIGNED not in arms)  # else the jobs train it
    ]
    runs = times * spec.evaluation.confirm_seeds * len(alone)
    episodes = runs * spec.evaluation.confirm_episodes
    if DESIGNED in arms:
        episodes += times * scored_episodes(spec)
    fixed, scoring = runs * entry.steps, episodes * entry.episode
    overhead = OVERHEAD_SECONDS * times * (len(alone) + (job_steps(spec) if jobs else 0))
    seconds = (jobs + fixed + scoring) / entry.speed + overhead
    return Cost(entry.task, jobs, fixed, scoring, seconds)


def cost_of_variant(
    entry: Entry, scale: Scale, variant: Variant, designer: Mapping[str, Any] = EVOLUTION
) -> Cost:
    """Plan the jobs of an ablation on one task; those that it is compared with are the ladder's."""
    spec = spec_for(entry, scale, changes=variant.changes)
    times = jobs_a_side(entry, variant, scale, designer)
    jobs = times * planned_cost(spec)
    scoring = times * scored_episodes(spec) * entry.episode
    overhead = OVERHEAD_SECONDS * times * job_steps(spec)
    seconds = (jobs + scoring) / entry.speed + overhead
    return Cost(f"{entry.task}: {variant.name}", jobs, 0, scoring, seconds)


def scored_episodes(spec: JobSpec) -> int:
    """Return how many episodes a job is scored by, all runs and checkpoints together."""
    training, evaluation = spec.training, spec.evaluation
    runs, alive = training.seeds, spec.candidates
    for _ in training.rungs:
        runs += spec.iterations * alive * training.seeds
        alive = survivors(training, alive)
    confirmed = (1 + evaluation.confirm_candidates) * evaluation.confirm_seeds
    confirmed += evaluation.runoff_candidates * evaluation.runoff_seeds
    each = runs * evaluation.episodes + confirmed * evaluation.confirm_episodes
    return training.checkpoints * each


def job_steps(spec: JobSpec) -> int:
    """Return into how many claimed steps a job falls, about."""
    return 4 + spec.iterations * (2 + 2 * len(spec.training.rungs)) + 2


def plan(
    scale: Scale,
    arms: list[str],
    variants: Sequence[Variant] = (),
    designer: Mapping[str, Any] = EVOLUTION,
) -> str:
    """Return the plan as a table: the ladder, and the variants of the ablations."""
    planned = [(entry, cost_of(entry, scale, arms)) for entry in scale.entries]
    planned += [
        (entry, cost_of_variant(entry, scale, variant, designer))
        for variant in variants
        for entry in ablated(scale, variant)
    ]
    costs = [cost for _, cost in planned]
    rows = [
        (
            cost.task,
            f"{entry.steps:,}",
            f"{cost.jobs / 1e6:.1f}",
            f"{cost.fixed / 1e6:.1f}",
            f"{cost.scoring / 1e6:.1f}",
            f"{cost.seconds / 60:.1f}",
        )
        for entry, cost in planned
    ]
    total = (
        "all",
        "",
        *(f"{sum(getattr(c, n) for c in costs) / 1e6:.1f}" for n in ("jobs", "fixed", "scoring")),
        f"{sum(c.seconds for c in costs) / 60:.1f}",
    )
    heads = ("task", "steps a run", "jobs (10⁶ steps)", "fixed arms", "scoring, at most", "minutes")
    return table(heads, [*rows, total])
