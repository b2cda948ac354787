"""What is to be done, in order, each thing once: runs of the fixed arms, and jobs.

A cell holds one run of a fixed arm, or one finished job.  Its key says everything that its numbers
depend on but the code: a change of a task, an expert or the budget makes new cells, and the rest stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from bench.design.arms import DESIGNED, EXPERT, arm_of, expert_source, fitness_is_native
from bench.design.house import House, JobBroke, digest
from bench.design.ladder import (
    EVOLUTION,
    Entry,
    Scale,
    designer_words,
    request_for,
    spec_for,
)
from bench.trainer.cells import Cells, Key
from core import choosing, seeding
from core.errors import SandboxFailed
from core.records.history import History
from core.records.kinds import FITNESS, NATIVE
from core.records.measured import Run
from core.records.spec import JobSpec, Training
from core.records.task import Task
from core.tasks import task_to_mapping

ATTEMPTS = 3
Say = Callable[[str], None]
Said = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """Which jobs are wanted.

    Attributes:
        scale:    of the run.
        arms:     the fixed arms.
        designer: who writes the programs, as in a request.
        machine:  in words; stands in every cell.
        deadline: on the monotonic clock; nothing is begun after it.
    """

    scale: Scale
    arms: Sequence[str]
    designer: Mapping[str, Any]
    machine: str
    deadline: float = float("inf")


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to do: its missing cells, and how they are made."""

    title: str
    keys: Sequence[Key]
    make: Callable[[House], Iterator[tuple[Key, Said]]]


def work_off(works: Iterator[Work], cells: Cells, house: House, order: Order, say: Say) -> bool:
    """Do what is missing; return whether everything is done now."""
    for work in works:
        if all(key in cells for key in work.keys):
            continue
        if time.monotonic() > order.deadline:
            say("The time is up; call again to go on.")
            return False
        say(work.title)
        _do(work, cells, house, order, say)
    return True


def _do(work: Work, cells: Cells, house: House, order: Order, say: Say) -> None:
    """Make a work's missing cells; once more where the machine failed, as when its memory was full."""
    about = {"machine": order.machine, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    for attempt in range(ATTEMPTS):
        try:
            for key, said in work.make(house):
                cells.add(key, {**said, **about})
            return
        except (SandboxFailed, JobBroke) as error:
            if attempt == ATTEMPTS - 1:
                raise
            say(f"Once more, because of: {error}")
            house.rest()


def ladder_works(order: Order, cells: Cells) -> Iterator[Work]:
    """Say what the ladder needs: all tasks once, then all of them again with other seeds.

    The native reward is trained by the jobs themselves, with the seeds of their confirmations; only
    where a job ended without one is it trained here.
    """
    for repetition in range(order.scale.repetitions):
        for entry in order.scale.entries:
            for arm in order.arms:
                if arm not in (NATIVE, DESIGNED) and is_trained(arm, entry, order.scale):
                    yield fixed_work(entry, order.scale, arm, repetition, cells)
            if DESIGNED in order.arms:
                yield job_work(entry, order.scale, repetition, order.designer)
            if NATIVE in order.arms and native_is_missing(entry, order, repetition, cells):
                yield fixed_work(entry, order.scale, NATIVE, repetition, cells)


def is_trained(arm: str, entry: Entry, scale: Scale) -> bool:
    """Tell whether an arm is trained for itself: the fitness alone may be the native reward."""
    return arm != FITNESS or not fitness_is_native(spec_for(entry, scale).task)


def native_is_missing(entry: Entry, order: Order, repetition: int, cells: Cells) -> bool:
    """Tell whether the native reward's runs of a repetition did not come with its job."""
    if DESIGNED not in order.arms:
        return True
    key = job_key(entry, order.scale, repetition, order.designer)
    return any(not job["native"] for job in cells.of(**key))


# --- fixed arms -------------------------------------------------------------------------------


def run_key(entry: Entry, scale: Scale, arm: str, seed: int) -> Key:
    """Return the key of one run of a fixed arm."""
    spec = spec_for(entry, scale)
    return {
        "what": "run",
        "task": entry.task,
        "arm": arm,
        "seed": seed,
        "steps": entry.steps,
        "episodes": spec.evaluation.confirm_episodes,
        "is": digest([_trained_on(spec), expert_source(entry.task) if arm == EXPERT else None]),
    }


def fresh_seeds(spec: JobSpec) -> tuple[int, ...]:
    """Return the training seeds of a job's confirmation, which nothing was chosen by."""
    return seeding.confirm_seeds(History(spec))


def fixed_work(entry: Entry, scale: Scale, arm: str, repetition: int, cells: Cells) -> Work:
    """Train a fixed arm with the fresh seeds of one repetition."""
    spec = spec_for(entry, scale, repetition)
    keys = {seed: run_key(entry, scale, arm, seed) for seed in fresh_seeds(spec)}

    def make(house: House) -> Iterator[tuple[Key, Said]]:
        seeds = [seed for seed, key in keys.items() if key not in cells]
        floor = house.preflight(spec).random_fitness
        for run in house.train(spec, arm_of(arm, spec), seeds):
            yield keys[run.seed], {**_run_said(run), "random": floor}

    title = f"{entry.task}, repetition {repetition}: {arm}, {len(keys)} runs"
    return Work(title, list(keys.values()), make)


def _run_said(run: Run) -> Said:
    return {
        "fitness": run.fitness,
        "episodes": list(run.episodes),
        "env_steps": run.env_steps,
        "seconds": round(run.seconds, 2),
        "failure": run.failure,
    }


def _trained_on(spec: JobSpec) -> Mapping[str, Any]:
    """Return what a run of a fixed arm depends on besides its program: no word about the search."""
    search = ("seeds", "rungs", "keep", "checkpoints", "packs", "warm_start")
    usual = asdict(Training())
    learner = {
        name: value
        for name, value in asdict(spec.training).items()
        if name not in search and value != usual[name]
    }
    return {"task": _without_words(spec.task), "training": learner}


def _without_words(task: Task) -> Mapping[str, Any]:
    """Return a task without what only somebody who reads can tell from another."""
    words = ("description", "actions")
    return {name: value for name, value in task_to_mapping(task).items() if name not in words}


# --- jobs -------------------------------------------------------------------------------------


def job_key(
    entry: Entry,
    scale: Scale,
    repetition: int,
    designer: Mapping[str, Any],
    variant: str = "",
    **changes: Any,
) -> Key:
    """Return the key of one job."""
    request = request_for(entry, scale, repetition, designer, changes)
    task: Task = spec_for(entry, scale).task
    reads = designer["name"] != EVOLUTION["name"]
    return {
        "what": "job",
        "task": entry.task,
        "designer": designer_words(designer),
        "variant": variant,
        "seed": repetition,
        "steps": entry.steps,
        "is": digest([request, task_to_mapping(task) if reads else _without_words(task)]),
    }


def job_work(
    entry: Entry,
    scale: Scale,
    repetition: int,
    designer: Mapping[str, Any],
    variant: str = "",
    **changes: Any,
) -> Work:
    """Run one job to its end."""
    key = job_key(entry, scale, repetition, designer, variant, **changes)
    request = request_for(entry, scale, repetition, designer, changes)

    def make(house: House) -> Iterator[tuple[Key, Said]]:
        name = "-".join(
            map(str, (scale.name, *(v for n, v in key.items() if n != "what" and v != "")))
        )
        ended = house.carry_out(request, name)
        about = {"job": ended.job, "wall": ended.seconds, "resumed": ended.resumed}
        yield key, {**about, **job_said(ended.history)}

    words = f"job by {designer_words(designer)}" + (f", {variant}" if variant else "")
    return Work(f"{entry.task}, repetition {repetition}: {words}", [key], make)


def job_said(history: History) -> Said:
    """Return what is kept of a job that has ended."""
    outcome, found = history.outcome, history.preflight
    candidates = [c for i in history.iterations for c in i.candidates]
    best = next((c for c in candidates if outcome is not None and c.key == outcome.best), None)
    return {
        "status": history.status,
        "failure": history.failure,
        "random": None if found is None else found.random_fitness,
        "verdict": None if outcome is None else outcome.verdict,
        "sentence": None if outcome is None else outcome.sentence,
        "native": _by_seed(history.confirmations, NATIVE),
        "designed": {} if best is None else _by_seed(history.confirmations, best.key),
        "best": None if best is None else best.key,
        "source": None if best is None or best.program is None else best.program.source,
        "params": {} if best is None or best.program is None else dict(best.program.params),
        "search": search_course(history),
        "candidates": len(candidates),
        "rejected": sum(c.status == "rejected" for c in candidates),
        "screened": sum(c.status == "screened" for c in candidates),
        "saved_steps": sum(c.saved_steps for c in candidates),
        "spent": asdict(history.spent),
    }


def _by_seed(runs: Sequence[Run], arm: str) -> dict[str, float | None]:
    return {str(run.seed): run.fitness for run in runs if run.arm == arm}


def search_course(history: History) -> list[dict[str, float | int | None]]:
    """Return, after each iteration, what the search had cost and the best full-length fitness so far.

    The cost is that of the candidates alone, in environment steps; baseline and confirmation are the
    same for every way to search.
    """
    last = len(history.spec.training.rungs) - 1
    course: list[dict[str, float | int | None]] = []
    steps, best = 0, None
    for iteration in history.iterations:
        steps += sum(run.env_steps for c in iteration.candidates for run in c.runs)
        scores = [
            s for c in iteration.candidates if (s := choosing.rung_fitness(c, last)) is not None
        ]
        best = max([*scores, *([] if best is None else [best])], default=None)
        course.append({"env_steps": steps, "fitness": best})
    return course
