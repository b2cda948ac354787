"""What a rung tells: how early the best program is known, and what each schedule of rungs would pick.

    python -m bench.design.rungs                        # goes on where it was interrupted
    python -m bench.design.rungs --tasks acrobot --repetitions 2
    python -m bench.design.rungs --summary              # write the page again, measure nothing

Jobs of the ladder's tasks train all candidates, but who is given up, and measure them at many rungs.
Who would have gone on under a schedule is then decided on these curves by `core.rungs.promoted`, with
nobody suspected; two of the four seeds decide, the other two say what the choice is worth.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np

from bench.design.house import House, open_house
from bench.design.ladder import EVOLUTION, FULL, LADDER, Entry, request_for
from bench.design.work import job_key
from bench.trainer import machine
from bench.trainer.cells import Cells, Key
from bench.trainer.tables import table
from core.ordering import order_of
from core.records.measured import Run
from core.records.rounds import Candidate
from core.records.spec import Training
from core.rungs import promoted, ranked, rung_values

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "build" / "bench-rungs"
RESULTS = ROOT / "docs" / "results"

FINE = (0.12, 0.2, 0.28, 0.35, 0.45, 0.6, 0.8, 1.0)
SEEDS = 4
FIRST_JOB = 10  # none of the ladder's own
TASKS = (
    *("cartpole", "mountaincar", "mountaincar-continuous", "acrobot", "cartpole-park"),
    *("pendulum-swing", "mountaincar-rest"),
)
CHANGES: Mapping[str, Any] = {
    "training": {"rungs": FINE, "keep": 1.0, "seeds": SEEDS, "checkpoints": 1},
    "screens": [],
    "evaluation": {"episodes": 10, "confirm_seeds": 2, "confirm_episodes": 3},
}

Cell: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rungs, who goes on, and whether a rung at which nobody beats chance keeps all."""

    rungs: tuple[float, ...]
    keep: float = 0.34
    all_when_blind: bool = False

    @property
    def name(self) -> str:
        """How it stands in the table."""
        words = ", ".join(f"{share:g}" for share in self.rungs) + f"; {self.keep:g} go on"
        return f"{words}; all where blind" if self.all_when_blind else words


SCHEDULES = (
    Schedule((1.0,)),
    Schedule((0.35, 1.0), 0.5),
    Schedule((0.2, 0.45, 1.0), 0.5),
    Schedule((0.2, 0.6, 1.0), 0.5),
    Schedule((0.35, 1.0)),
    Schedule((0.35, 1.0), all_when_blind=True),
    Schedule((0.2, 1.0), 0.17),
    Schedule((0.2, 1.0), 0.17, all_when_blind=True),
    Schedule((0.12, 0.45, 1.0)),
    Schedule((0.12, 0.45, 1.0), all_when_blind=True),
    Schedule((0.2, 0.28, 1.0)),
    Schedule((0.2, 0.28, 1.0), all_when_blind=True),
    Schedule((0.2, 0.35, 1.0)),
    Schedule((0.2, 0.35, 1.0), all_when_blind=True),
    Schedule((0.2, 0.45, 1.0)),
    Schedule((0.2, 0.45, 1.0), all_when_blind=True),
)


def main(given: Sequence[str] = sys.argv[1:]) -> None:
    """Measure what is missing, and write what is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=[e.task for e in LADDER], default=list(TASKS))
    parser.add_argument("--repetitions", type=int, default=3, help="jobs per task")
    parser.add_argument("--summary", action="store_true", help="measure nothing, write the page")
    arguments = parser.parse_args(given)
    cells = Cells(RESULTS / "rung-cells.jsonl")
    try:
        if not arguments.summary:
            measure(cells, arguments.tasks, arguments.repetitions)
    finally:
        (RESULTS / "rungs.md").write_text(page(list(cells)), encoding="utf-8")


# --- measuring --------------------------------------------------------------------------------


def measure(cells: Cells, tasks: Sequence[str], repetitions: int) -> None:
    """Run the jobs that are missing."""
    about = {"machine": machine.describe()}
    with open_house(HOUSE) as house:
        for seed in range(FIRST_JOB, FIRST_JOB + repetitions):
            for entry in (e for e in LADDER if e.task in tasks):
                if (key := curves_key(entry, seed)) not in cells:
                    date = datetime.now(UTC).isoformat(timespec="seconds")
                    cells.add(key, {**curves(house, entry, seed), **about, "date": date})


def curves_key(entry: Entry, seed: int) -> Key:
    """Return the key of a job's curves."""
    return job_key(entry, FULL, seed, EVOLUTION, "every rung", **CHANGES)


def curves(house: House, entry: Entry, seed: int) -> dict[str, Any]:
    """Run a job; return fitness [iteration][candidate][seed][rung], and chance."""
    request = request_for(entry, FULL, seed, EVOLUTION, CHANGES)
    key = curves_key(entry, seed)
    history = house.carry_out(request, f"rungs-{entry.task}-{seed}-{key['is']}").history
    assert history.preflight is not None  # the job has ended well
    chance = history.preflight.random_fitness
    found = [
        [curve for c in i.candidates if (curve := _curve(c)) is not None]
        for i in history.iterations
    ]
    return {"chance": chance, "fitness": found}


def _curve(candidate: Candidate) -> list[list[float]] | None:
    """Return fitness [seed][rung]; who was given up keeps its last, and None stands for no first."""
    columns: list[list[float]] = []
    for rung in range(len(FINE)):
        values = rung_values(candidate, rung) or (columns[-1] if columns else None)
        if values is None or len(values) != SEEDS:
            return None
        columns.append([float(f"{value:.6g}") for value in values])
    return [list(row) for row in zip(*columns, strict=True)]


# --- simulating -------------------------------------------------------------------------------


def worth(cell: Cell, schedule: Schedule) -> tuple[float, float]:
    """Return what a schedule's choice is worth, and its share of the steps of full training.

    The mean over all ways to take two seeds for the search; the fitness is that of the two others.
    """
    found = [_search(cell, schedule, seeds) for seeds in combinations(range(SEEDS), 2)]
    return fmean(value for value, _ in found), fmean(share for _, share in found)


def _search(cell: Cell, schedule: Schedule, seeds: Sequence[int]) -> tuple[float, float]:
    training = Training(rungs=schedule.rungs, keep=schedule.keep, seeds=len(seeds))
    finalists: list[Candidate] = []
    spent = 0.0
    for number, iteration in enumerate(cell["fitness"]):
        alive = [_candidate(number, n, curve, schedule, seeds) for n, curve in enumerate(iteration)]
        before = 0.0
        for rung, share in enumerate(schedule.rungs[:-1]):
            spent += len(alive) * (share - before)
            before = share
            if not (schedule.all_when_blind and _is_blind(alive, rung, cell["chance"])):
                alive = promoted(training, cell["chance"], alive, rung)
        spent += len(alive) * (1.0 - before)
        finalists += alive
    last = len(schedule.rungs) - 1
    at_end = [replace(c, runs=tuple(r for r in c.runs if r.rung == last)) for c in finalists]
    best = ranked(at_end)[0]
    curve = cell["fitness"][best.iteration][best.number]
    others = [seed for seed in range(SEEDS) if seed not in seeds]
    return fmean(curve[seed][-1] for seed in others), spent / sum(map(len, cell["fitness"]))


def _candidate(
    iteration: int,
    number: int,
    curve: Sequence[Sequence[float]],
    schedule: Schedule,
    seeds: Sequence[int],
) -> Candidate:
    """Return a candidate with the runs that it would have under a schedule."""
    key = f"{iteration}.{number}"
    runs = [
        Run("search", key, seed, rung, "scored", fitness=curve[seed][FINE.index(share)])
        for seed in seeds
        for rung, share in enumerate(schedule.rungs)
    ]
    return Candidate(iteration, number, "seed", "trained", runs=tuple(runs))


def _is_blind(alive: Sequence[Candidate], rung: int, chance: float) -> bool:
    return all(fmean(rung_values(c, rung) or [chance]) <= chance for c in alive)


def told(cell: Cell, rung: int) -> float | None:
    """Return Kendall's tau between fitness at a rung and at the end, with other seeds; in iterations.

    None where no iteration tells programs apart.
    """
    taus = []
    for iteration in cell["fitness"]:
        runs = np.array(iteration, np.float64)  # [candidate, seed, rung]
        for seeds in combinations(range(SEEDS), 2):
            others = [seed for seed in range(SEEDS) if seed not in seeds]
            early, late = runs[:, seeds, rung].mean(1), runs[:, others, -1].mean(1)
            found = order_of(early, late)
            taus += [found.tau] if found.pairs else []
    return fmean(taus) if taus else None


# --- the page ---------------------------------------------------------------------------------


def page(cells: Sequence[Cell]) -> str:
    """Return docs/results/rungs.md."""
    tasks = {task: jobs for task, jobs in _by_task(cells)}
    shown = [job for jobs in tasks.values() for job in jobs]
    dates = sorted(cell["date"][:10] for cell in shown)
    machines = "; ".join(dict.fromkeys(cell["machine"] for cell in shown))
    return "\n".join(
        (
            "# What a rung tells\n",
            f"Measured: {dates[-1] if dates else 'nothing yet'}, `python -m bench.design.rungs`. "
            f"Machine: {machines or 'none yet'}. Jobs of the designer `evolution` on tasks of the "
            f"[ladder](design.md), six candidates × three iterations, trained with {SEEDS} seeds and "
            "measured at every rung; who was given up on the way (at chance from 60 % of the steps on, "
            "where others are above it, or suspected of an exploit) keeps the last fitness.\n",
            "## How early the order is known\n",
            "Kendall's τ between the fitness of an iteration's candidates at a rung (two seeds) and "
            "at the end (the two other seeds); 0 is nothing, and at 1.0 it is what seeds alone leave "
            "of the order.\n",
            table(
                ("task", "jobs", *(f"{share:g}" for share in FINE)),
                [
                    (task, str(len(jobs)), *(_tau(jobs, rung) for rung in range(len(FINE))))
                    for task, jobs in tasks.items()
                ],
            ),
            "## What a schedule picks\n",
            "The fitness (on two seeds that the search did not see) of the program that a job would "
            "have picked with its other two, and its share of the steps of training all candidates "
            "to the end. Programs are those that the fully trained job wrote: what a designer would "
            "have written after another rung's results is not in it, nor is the suspicion of exploits. "
            "*All where blind*: a rung at which nobody beats the random policy drops nobody.\n",
            table(
                ("schedule", *(f"{task}" for task in tasks), "share of the way"),
                [_row(schedule, tasks) for schedule in SCHEDULES],
            ),
            "*Share of the way*: from the random policy to what full training picks, the mean over "
            "tasks.\n",
            *_left_out(cells),
        )
    )


def _left_out(cells: Sequence[Cell]) -> Iterator[str]:
    """Name the jobs of which nothing can be said: no candidate was scored with all seeds."""
    empty = [f"{c['key']['task']} {c['key']['seed']}" for c in cells if not any(c["fitness"])]
    if empty:
        yield f"Left out, because no candidate was scored with all seeds: {', '.join(empty)}.\n"


def _by_task(cells: Sequence[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    """Yield the jobs of each task, as far as they are what would be asked for now and say something."""
    for entry in LADDER:
        own = [cell for cell in cells if cell["key"]["task"] == entry.task and any(cell["fitness"])]
        if jobs := [cell for cell in own if cell["key"] == curves_key(entry, cell["key"]["seed"])]:
            yield entry.task, jobs


def _tau(jobs: Sequence[Cell], rung: int) -> str:
    taus = [tau for job in jobs if (tau := told(job, rung)) is not None]
    return f"{fmean(taus):.2f}" if taus else ""


def _row(schedule: Schedule, tasks: Mapping[str, Sequence[Cell]]) -> tuple[str, ...]:
    cells, ways = [], []
    for jobs in tasks.values():
        found = [worth(job, schedule) for job in jobs]
        full = [worth(job, SCHEDULES[0])[0] for job in jobs]
        value, chance = fmean(v for v, _ in found), fmean(job["chance"] for job in jobs)
        cells.append(f"{value:.4g} ({fmean(share for _, share in found):.0%})")
        if fmean(full) != chance:
            ways.append((value - chance) / (fmean(full) - chance))
    return (schedule.name, *cells, f"{fmean(ways):.1%}" if ways else "")


if __name__ == "__main__":
    main()
