"""From cells to results: intervals, verdicts and the normalised score of every task.

A design's runs are those of several jobs.  Its interval resamples jobs first and runs of a job second;
the verdict pools the runs, as `core.statistics.verdict` reads them, and the jobs' own verdicts stand
beside it, for runs of one job share a program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np

from bench.design.arms import DESIGNED, EXPERT, FIXED
from bench.design.ladder import Entry, Scale, spec_for
from bench.design.work import Order, fresh_seeds, is_trained, job_key, run_key
from bench.trainer.cells import Cells
from core.records.kinds import FITNESS, NATIVE
from core.records.outcome import Interval
from core.statistics import RESAMPLES, bootstrap_interval, difference_interval, verdict

Json: TypeAlias = dict[str, Any]
Cell: TypeAlias = Mapping[str, Any]


def results(order: Order, cells: Cells) -> list[Json]:
    """Return what is known of every task of which anything was measured."""
    return [found for entry in order.scale.entries if (found := task_result(entry, order, cells))]


def task_result(entry: Entry, order: Order, cells: Cells) -> Json | None:
    """Return one task's entry of design.json; None where nothing was measured yet."""
    jobs = jobs_of(entry, order, cells)
    arms: dict[str, list[float]] = {
        arm: values
        for arm in FIXED
        if (values := [*fixed_values(entry, order, arm, cells), *_of_jobs(arm, jobs)])
    }
    if FITNESS not in arms and NATIVE in arms and not is_trained(FITNESS, entry, order.scale):
        arms[FITNESS] = arms[NATIVE]
    designs = [designed_values(job, confirm_seeds(order.scale)) for job in jobs]
    if not arms and not designs:
        return None
    pooled = [value for values in designs for value in values]
    fitness = {
        arm: interval_json(bootstrap_interval(values), values) for arm, values in arms.items()
    }
    if designs:
        fitness[DESIGNED] = interval_json(nested_interval(designs), pooled)
    return {
        "task": entry.task,
        "wish": entry.wish,
        "steps": entry.steps,
        "why_steps": entry.why,
        "complete": len(jobs) == order.scale.repetitions,
        "fitness": fitness,
        "fitness_is_native": not is_trained(FITNESS, entry, order.scale),
        "normalised": normalised(pooled, arms.get(FITNESS, []), arms.get(EXPERT, [])),
        "verdict": ruling(pooled, arms.get(NATIVE, [])),
        "verdict_expert": ruling(pooled, arms.get(EXPERT, [])),
        "verdict_fitness": ruling(pooled, arms.get(FITNESS, [])),
        "env_steps": sum(job["spent"]["env_steps"] for job in jobs),
        "seconds": round(sum(job["wall"] for job in jobs), 1),
        "tokens": sum(job["spent"]["tokens"] for job in jobs),
        "money": round(sum(job["spent"].get("money", 0.0) for job in jobs), 4),
        "repetitions": [
            repetition(job, values, arms) for job, values in zip(jobs, designs, strict=True)
        ],
        "machine": distinct(_machines(entry, jobs, cells)),
        "date": max((cell["date"] for cell in [*jobs, *_of_ladder(entry, cells)]), default=None),
    }


def _of_ladder(entry: Entry, cells: Cells) -> list[Cell]:
    """Return a task's cells that are no ablation's."""
    return [cell for cell in cells.of(task=entry.task) if not cell["key"].get("variant")]


def jobs_of(
    entry: Entry, order: Order, cells: Cells, variant: str = "", **changes: Any
) -> list[Cell]:
    """Return the finished jobs of a task, in order of their seeds."""
    keys = (
        job_key(entry, order.scale, number, order.designer, variant, **changes)
        for number in range(order.scale.repetitions)
    )
    return [cell for key in keys for cell in cells.of(**key)]


def fixed_values(entry: Entry, order: Order, arm: str, cells: Cells) -> list[float]:
    """Return the fitness of a fixed arm's own runs; a failed run counts as the random policy."""
    values = []
    for number in range(order.scale.repetitions):
        for seed in fresh_seeds(spec_for(entry, order.scale, number)):
            for cell in cells.of(**run_key(entry, order.scale, arm, seed)):
                values.append(cell["random"] if cell["fitness"] is None else cell["fitness"])
    return values


def confirm_seeds(scale: Scale) -> int:
    """Return how many fresh seeds a job confirms its design with."""
    return int(scale.job["evaluation"]["confirm_seeds"])


def designed_values(job: Cell, expected: int) -> list[float]:
    """Return the fitness of a job's design with fresh seeds.

    A run that failed counts as the random policy, and so does a job that ended without a design: a user
    would have got just that.
    """
    runs = job["designed"] or dict.fromkeys(map(str, range(expected)))
    return [job["random"] if value is None else value for value in runs.values()]


def _of_jobs(arm: str, jobs: Sequence[Cell]) -> list[float]:
    if arm != NATIVE:
        return []
    return [value for job in jobs for value in job["native"].values() if value is not None]


def nested_interval(groups: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """Return the mean over jobs with a bootstrap interval that resamples jobs, then their runs.

    With three jobs it is rough: it cannot reach beyond the best and the worst of them.
    """
    rng = np.random.default_rng(seed)
    samples = [np.asarray(group, dtype=np.float64) for group in groups]
    # [G, R] means of resampled runs of every job, then [R] means over resampled jobs
    means = np.stack(
        [s[rng.integers(0, len(s), size=(RESAMPLES, len(s)))].mean(axis=1) for s in samples]
    )
    picks = rng.integers(0, len(samples), size=(len(samples), RESAMPLES))
    draws = np.take_along_axis(means, picks, axis=0).mean(axis=0)
    low, high = np.quantile(draws, [0.025, 0.975])
    mean = fmean(float(s.mean()) for s in samples)
    return Interval(mean, float(low), float(high), sum(map(len, samples)))


def normalised(
    designed: Sequence[float], alone: Sequence[float], expert: Sequence[float]
) -> float | None:
    """Return (designed − fitness alone) / |expert − fitness alone|, as Eureka defines it.

    None where an arm is missing, or where the interval of the denominator holds 0: a task on which the
    expert is not told from the fitness alone has no yardstick.
    """
    if not (designed and alone and expert):
        return None
    yard = difference_interval(expert, alone)
    if yard.low <= 0.0 <= yard.high:
        return None
    return round((fmean(designed) - fmean(alone)) / abs(yard.mean), 4)


def ruling(designed: Sequence[float], other: Sequence[float]) -> str | None:
    """Return the verdict of the permutation test; None where one side was not measured."""
    return verdict(designed, other) if designed and other else None


def repetition(job: Cell, values: Sequence[float], arms: Mapping[str, Sequence[float]]) -> Json:
    """Return what one job came to."""
    return {
        "job_seed": job["key"]["seed"],
        "status": job["status"],
        "failure": job["failure"],
        "fitness": interval_json(bootstrap_interval(values), values),
        "verdict_of_job": job["verdict"],
        "verdict": ruling(values, arms.get(NATIVE, [])),
        "verdict_expert": ruling(values, arms.get(EXPERT, [])),
        "env_steps": job["spent"]["env_steps"],
        "seconds": job["wall"],
        "resumed": job["resumed"],
        "candidates": job["candidates"],
        "rejected": job["rejected"],
        "screened": job["screened"],
        "saved_steps": job["saved_steps"],
        "source": job["source"],
        "params": job["params"],
    }


def interval_json(interval: Interval, values: Sequence[float]) -> Json:
    """Return an interval as it stands in the file, with every run."""
    return {
        "mean": _short(interval.mean),
        "low": _short(interval.low),
        "high": _short(interval.high),
        "n": interval.n,
        "runs": [_short(value) for value in sorted(values)],
    }


def counts(found: Sequence[Json]) -> Json:
    """Count over the tasks that were compared: the goals of the ladder."""
    judged = [one for one in found if one["verdict"] is not None]
    against = [one for one in found if one["verdict_expert"] is not None]
    means = [one["fitness"] for one in against]
    return {
        "tasks": len(judged),
        "better": sum(one["verdict"] == "better" for one in judged),
        "equal": sum(one["verdict"] == "equal" for one in judged),
        "worse": sum(one["verdict"] == "worse" for one in judged),
        "wishes": sum(one["wish"] for one in judged),
        "wishes_better": sum(one["wish"] and one["verdict"] == "better" for one in judged),
        "wishes_worse": sum(one["wish"] and one["verdict"] == "worse" for one in judged),
        "against_expert": len(against),
        "expert_better": sum(one["verdict_expert"] == "better" for one in against),
        "expert_equal": sum(one["verdict_expert"] == "equal" for one in against),
        "expert_worse": sum(one["verdict_expert"] == "worse" for one in against),
        "mean_at_or_above_expert": sum(f[DESIGNED]["mean"] >= f[EXPERT]["mean"] for f in means),
    }


def _machines(entry: Entry, jobs: Sequence[Cell], cells: Cells) -> list[str]:
    return [cell["machine"] for cell in [*jobs, *cells.of(what="run", task=entry.task)]]


def distinct(values: Sequence[str]) -> list[str]:
    """Return every value once, in order."""
    return list(dict.fromkeys(values))


def _short(value: float) -> float:
    return float(f"{value:.5g}")
