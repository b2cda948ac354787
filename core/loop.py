"""The whole product on one page: stored facts in, wanted steps out.

    preflight → baseline ┐
                         ├→ [ propose → train (rungs, packs) → reflect → await ] × N → confirm → finish
                         ┘

Who is waited for is shown films first.  Before confirm comes a runoff of the best, if it is asked
for, and after it what was asked for beside the verdict: transfer, ablation, a film.

`next_steps` is pure: no clock, no database, no chance.  The terminal and the workers drive the same
function; any of them may die at any moment, and the function then says the same thing again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from core.budgets import out_of_time
from core.packing import (
    Member,
    ablation_packs,
    confirm_packs,
    next_rung,
    refused_rung,
    runoff_packs,
    transfer_packs,
)
from core.records.history import History
from core.records.kinds import FINISHED
from core.records.measured import Run
from core.records.rounds import Iteration
from core.scenes import to_film, to_show
from core.searching import current_iteration, native_complete, search_ended, waits_for_people
from core.seeding import search_seeds


@dataclass(frozen=True, slots=True)
class Import:
    """Take in the facts of a job that was exported elsewhere."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """Build and probe the environment before a token is spent."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Train the native reward with the seeds of the search."""


@dataclass(frozen=True, slots=True)
class FitnessAlone:
    """Train on the fitness alone, with the seeds of the search."""


@dataclass(frozen=True, slots=True)
class Propose:
    """Ask the designer for the candidates of an iteration, and check and screen them."""

    iteration: int


@dataclass(frozen=True, slots=True)
class Train:
    """Train one pack of an iteration for one rung, and measure it."""

    iteration: int
    rung: int
    pack: int


@dataclass(frozen=True, slots=True)
class Reflect:
    """Turn an iteration's results into feedback."""

    iteration: int


@dataclass(frozen=True, slots=True)
class Show:
    """Film the best candidates of an iteration, and the native reward, for people to judge."""

    iteration: int


@dataclass(frozen=True, slots=True)
class Await:
    """Let the job rest until people have said something of an iteration."""

    iteration: int


@dataclass(frozen=True, slots=True)
class Runoff:
    """Train one pack of the search's best designs again, from scratch, before one of them is chosen."""

    pack: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Train one pack of the best designs and the baseline again, from scratch, on fresh seeds."""

    pack: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Train one arm with the user's own learner: pack 0 the native reward, pack 1 the winner."""

    pack: int


@dataclass(frozen=True, slots=True)
class Ablate:
    """Train one pack of the winner without each of its terms in turn, and of the whole winner."""

    pack: int


@dataclass(frozen=True, slots=True)
class Film:
    """Film a few episodes of the winner and of the native reward."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Compare on the fresh seeds, and say how the job ended."""


Step: TypeAlias = (
    Import
    | Preflight
    | Baseline
    | FitnessAlone
    | Propose
    | Train
    | Reflect
    | Show
    | Await
    | Runoff
    | Confirm
    | Transfer
    | Ablate
    | Film
    | Finish
)
KINDS: dict[str, type[Step]] = {
    kind.__name__.lower(): kind
    for kind in (
        *(Import, Preflight, Baseline, FitnessAlone, Propose, Train, Reflect, Show, Await),
        *(Runoff, Confirm, Transfer, Ablate, Film, Finish),
    )
}
QUEUES = ("design", "train")
DESIGN_STEPS = (Import, Propose, Reflect, Finish)


def step_key(step: Step) -> str:
    """Name a step inside its job, e.g. "train/0/1/2"; the key of its claim."""
    numbers = [str(getattr(step, name)) for name in step.__slots__]
    return "/".join([type(step).__name__.lower(), *numbers])


def read_step(key: str) -> Step:
    """Return the step that `step_key` named.

    >>> read_step("train/0/1/2")
    Train(iteration=0, rung=1, pack=2)
    """
    kind, *numbers = key.split("/")
    return KINDS[kind](*map(int, numbers))


def queue_of(step: Step) -> str:
    """Say which kind of worker a step needs: `design` waits for models, `train` uses cores."""
    return "design" if isinstance(step, DESIGN_STEPS) else "train"


def next_steps(history: History) -> tuple[Step, ...]:
    """Say what to do now; empty when nothing can be started."""
    resting = history.status in FINISHED or history.status == "awaiting_feedback"
    if resting or history.cancel_requested or history.pause_requested:
        return ()
    return tuple(step for step in wanted(history) if step_key(step) not in history.claimed)


def wanted(history: History) -> tuple[Step, ...]:
    """Say what is missing now, claimed or not."""
    if history.importing:
        return (Import(),)
    if history.preflight is None:
        return (Preflight(),)
    baseline = _missing_baselines(history)
    if search_ended(history):
        return baseline or _closing(history)
    current = current_iteration(history)
    if waits_for_people(history):
        judged = current.number - 1
        # Who is told that the job waits finds the films there already.
        shown = Show(judged) if to_show(history, judged) else Await(judged)
        return (*baseline, shown)
    if not current.proposed:
        return (*baseline, Propose(current.number))
    trainings = _missing_trainings(history, current)
    # Reflection compares with the baseline, so it waits for it.
    return (*baseline, *trainings) or (Reflect(current.number),)


def _missing_baselines(history: History) -> tuple[Step, ...]:
    native: tuple[Step, ...] = () if native_complete(history) else (Baseline(),)
    wished = history.spec.evaluation.fitness_alone
    alone = {run.seed for run in history.fitness_alone} >= set(search_seeds(history))
    return native if alone or not wished else (*native, FitnessAlone())


def _closing(history: History) -> tuple[Step, ...]:
    for kind, packs, runs in (
        (Runoff, runoff_packs, history.runoffs),
        (Confirm, confirm_packs, history.confirmations),
        (Transfer, transfer_packs, history.transfers),
        (Ablate, ablation_packs, history.ablations),
    ):
        if kind is not Confirm and out_of_time(history) and not _begun(history, kind, runs):
            continue  # what was asked for beside the verdict has to wait for another job
        missing = tuple(
            kind(number)
            for number, pack in enumerate(packs(history))
            if not set(pack) <= _done(runs)
        )
        if missing:
            return missing
    return (Film(),) if to_film(history) and not out_of_time(history) else (Finish(),)


def _begun(history: History, kind: type[Step], runs: Sequence[Run]) -> bool:
    mark = f"{kind.__name__.lower()}/"
    return bool(runs) or any(key.startswith(mark) for key in history.claimed)


def _missing_trainings(history: History, iteration: Iteration) -> tuple[Train, ...]:
    found = next_rung(history, iteration)
    if found is None or refused_rung(history, iteration, *found):
        return ()
    rung, packs = found
    done = _done(run for c in iteration.candidates for run in c.runs if run.rung == rung)
    return tuple(
        Train(iteration.number, rung, number)
        for number, pack in enumerate(packs)
        if not set(pack) <= done
    )


def _done(runs: Iterable[Run]) -> set[Member]:
    return {(run.arm, run.seed) for run in runs}
