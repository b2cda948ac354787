"""The whole product on one page: stored facts in, wanted steps out.

    preflight → baseline ┐
                         ├→ [ propose → train (rungs, packs) → reflect → await ] × N → confirm → finish
                         ┘

`next_steps` is pure: no clock, no database, no chance.  The terminal and the workers drive the same
function; any of them may die at any moment, and the function then says the same thing again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias, TypeVar

from core.packs import pack_count
from core.records import (
    FINISHED,
    NATIVE,
    Candidate,
    Given,
    History,
    Iteration,
    Run,
    Saved,
    Stage,
    Training,
)
from core.statistics import mean


@dataclass(frozen=True, slots=True)
class Preflight:
    """Build and probe the environment before a token is spent."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Train the native reward with the seeds of the search."""


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
class Await:
    """Let the job rest until people have said something of an iteration."""

    iteration: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Train one pack of the best designs and the baseline again, from scratch, on fresh seeds."""

    pack: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Compare on the fresh seeds, and say how the job ended."""


CONFIRM_STRIDE = 20  # seeds set aside for each confirmation of a job
MOST_EXTENSIONS = 500 // CONFIRM_STRIDE - 1

Step: TypeAlias = Preflight | Baseline | Propose | Train | Reflect | Await | Confirm | Finish
KINDS: dict[str, type[Step]] = {
    kind.__name__.lower(): kind
    for kind in (Preflight, Baseline, Propose, Train, Reflect, Await, Confirm, Finish)
}
Member: TypeAlias = tuple[str, int]  # (arm key, seed)
T = TypeVar("T")


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


def next_steps(history: History) -> tuple[Step, ...]:
    """Say what to do now; empty when nothing can be started."""
    resting = history.status in FINISHED or history.status == "awaiting_feedback"
    if resting or history.cancel_requested or history.pause_requested:
        return ()
    return tuple(step for step in wanted(history) if step_key(step) not in history.claimed)


def wanted(history: History) -> tuple[Step, ...]:
    """Say what is missing now, claimed or not."""
    if history.preflight is None:
        return (Preflight(),)
    baseline = () if native_complete(history) else (Baseline(),)
    if search_ended(history):
        return baseline or _closing(history)
    current = current_iteration(history)
    if waits_for_people(history):
        return (*baseline, Await(current.number - 1))
    if not current.proposed:
        return (*baseline, Propose(current.number))
    trainings = _missing_trainings(history, current)
    # Reflection compares with the baseline, so it waits for it.
    return (*baseline, *trainings) or (Reflect(current.number),)


def _closing(history: History) -> tuple[Step, ...]:
    if confirm_arms(history):
        missing = tuple(
            Confirm(number)
            for number, pack in enumerate(confirm_packs(history))
            if not set(pack) <= _done(history.confirmations)
        )
        if missing:
            return missing
    return (Finish(),)


def _missing_trainings(history: History, iteration: Iteration) -> tuple[Train, ...]:
    for rung in range(len(history.spec.training.rungs)):
        done = _done(run for c in iteration.candidates for run in c.runs if run.rung == rung)
        missing = tuple(
            Train(iteration.number, rung, number)
            for number, pack in enumerate(train_packs(history, iteration, rung))
            if not set(pack) <= done
        )
        if missing:
            return missing
    return ()


def _done(runs: Iterable[Run]) -> set[Member]:
    return {(run.arm, run.seed) for run in runs}


# --- iterations and their members -------------------------------------------------------------


def current_iteration(history: History) -> Iteration:
    """Return the open iteration, or the next one, still empty."""
    for iteration in history.iterations:
        if iteration.feedback is None:
            return iteration
    return Iteration(len(history.iterations))


def waits_for_people(history: History) -> bool:
    """Tell whether the next iteration waits until somebody has said something of the last one.

    Once a slot of it was filled, it goes on: what it was asked with cannot be changed any more.  An
    iteration of people's own programs alone asks nothing of them.
    """
    current = current_iteration(history)
    begun = current.number == 0 or current.proposed or bool(current.candidates)
    if begun or not history.spec.await_feedback or plan_fulfilled(history):
        return False
    return not any(remark.iteration >= current.number - 1 for remark in history.remarks)


def search_ended(history: History) -> bool:
    """Tell whether no further iteration is wanted: all done, or a budget is used up."""
    if any(i.feedback is None for i in history.iterations):
        return False
    if plan_fulfilled(history) and not waiting_programs(history):
        return True
    return bool(budget_exhausted(history))


def plan_fulfilled(history: History) -> bool:
    """Tell whether the designer has had all its iterations; what follows is people's alone."""
    reflected = [i for i in history.iterations if i.feedback is not None]
    return len(reflected) >= history.spec.iterations


def waiting_programs(history: History) -> tuple[Given, ...]:
    """Return the programs that people handed in and no closed iteration has taken, in order.

    An iteration takes all that are there, so that a program is waiting or taken for good, and the open
    iteration gives the same program the same slot however often its step is resumed.
    """
    closed = [i for i in history.iterations if i.feedback is not None]
    taken = {c.given for i in closed for c in i.candidates}
    return tuple(program for program in history.given if program.number not in taken)


def budget_exhausted(history: History) -> str | None:
    """Name the budget that does not allow another iteration, or None.

    What the confirmation will cost is kept back from the start.
    """
    budget, spent = history.spec.budget, history.spent
    wanted_steps = spent.env_steps + iteration_cost(history) + confirm_cost(history)
    if budget.env_steps is not None and wanted_steps > budget.env_steps:
        return "env_steps"
    if budget.tokens is not None and spent.tokens >= budget.tokens:
        return "tokens"
    if budget.seconds is not None and spent.seconds >= budget.seconds:
        return "seconds"
    return None


def iteration_cost(history: History) -> int:
    """Return the environment steps of one iteration if every candidate is trained."""
    training = history.spec.training
    alive = 0 if plan_fulfilled(history) else history.spec.candidates
    alive += len(waiting_programs(history))
    total, before = 0, 0
    for rung in range(len(training.rungs)):
        steps = rung_steps(training, rung)
        total += alive * training.seeds * (steps - before)
        before, alive = steps, survivors(training, alive)
    return total


def confirm_cost(history: History) -> int:
    """Return the environment steps of the confirmation, the baseline's included."""
    evaluation = history.spec.evaluation
    arms = 1 + evaluation.confirm_candidates
    return arms * evaluation.confirm_seeds * history.spec.training.steps


def rung_steps(training: Training, rung: int) -> int:
    """Return the environment steps per run at the end of a rung; -1 stands for the start."""
    return 0 if rung < 0 else round(training.steps * training.rungs[rung])


def survivors(training: Training, alive: int) -> int:
    """Return how many of `alive` candidates go on to the next rung, at least one."""
    return max(1, round(alive * training.keep)) if alive else 0


def search_seeds(history: History) -> tuple[int, ...]:
    """Return the training seeds that baseline and candidates share."""
    first = 1_000 * history.spec.seed
    return tuple(range(first, first + history.spec.training.seeds))


def confirm_seeds(history: History) -> tuple[int, ...]:
    """Return training seeds that nobody has seen before, not even in an earlier confirmation."""
    return tuple(_fresh(history))


def present_confirmation(history: History, runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the runs that belong to the confirmation that is wanted now, not to an earlier one."""
    fresh = _fresh(history)
    return tuple(run for run in runs if run.seed in fresh)


def _fresh(history: History) -> range:
    first = 1_000 * history.spec.seed + 500 + CONFIRM_STRIDE * history.extensions
    return range(first, first + history.spec.evaluation.confirm_seeds)


def native_complete(history: History) -> bool:
    """Tell whether every baseline run is stored."""
    return {run.seed for run in history.native} >= set(search_seeds(history))


def train_packs(history: History, iteration: Iteration, rung: int) -> list[tuple[Member, ...]]:
    """Split a rung's runs into packs, whole candidates together, in a fixed order."""
    alive = rung_candidates(history, iteration, rung)
    runs = len(alive) * history.spec.training.seeds
    groups = _split(alive, pack_count(history.spec.training, history.preflight, runs))
    return [tuple((c.key, s) for c in group for s in search_seeds(history)) for group in groups]


def rung_candidates(history: History, iteration: Iteration, rung: int) -> list[Candidate]:
    """Return the candidates that take part in a rung, in order of their number."""
    alive = [c for c in iteration.candidates if c.status in ("proposed", "trained", "failed")]
    alive = [c for c in alive if c.program is not None]
    for before in range(rung):
        alive = _promoted(history, alive, before)
    return alive


def _promoted(history: History, alive: list[Candidate], rung: int) -> list[Candidate]:
    scored = [(score, c) for c in alive if (score := rung_fitness(c, rung)) is not None]
    floor = history.preflight.random_fitness if history.preflight else float("-inf")
    gain = history.spec.training.threshold
    if gain is not None:
        scored = [(score, c) for score, c in scored if score > floor + gain]
    elif not any(score > floor for score, _ in scored):
        return [c for _, c in scored]  # nobody beats chance: the rung abstains
    ranked = sorted(scored, key=lambda pair: (-pair[0], pair[1].number))
    kept = {c.number for _, c in ranked[: survivors(history.spec.training, len(scored))]}
    return [c for c in alive if c.number in kept]


def confirm_arms(history: History) -> tuple[str, ...]:
    """Return the arms of the confirmation: the native reward and the best candidates."""
    best = ranking(history)[: history.spec.evaluation.confirm_candidates]
    return (NATIVE, *(c.key for c in best)) if best else ()


def confirm_packs(history: History) -> list[tuple[Member, ...]]:
    """Split the confirmation into packs; the native reward has one of its own.

    Members of a pack share a process.  No program may stand beside the runs that it is compared with;
    a member's curve does not depend on its pack, so the conditions stay equal.
    """
    arms = confirm_arms(history)
    if not arms:
        return []
    seeds = confirm_seeds(history)
    native = tuple((NATIVE, seed) for seed in seeds)
    designed = [(arm, seed) for arm in arms if arm != NATIVE for seed in seeds]
    parts = pack_count(history.spec.training, history.preflight, len(designed), others=1)
    return [native, *map(tuple, _split(designed, parts))]


def resumable(
    saved: Iterable[Saved], stage: Stage, rung: int, members: Sequence[Member]
) -> dict[Member, Saved]:
    """Return what the members of a pack can go on from: all of them, or none.

    Members of a pack are saved together, so that only a pack that was put together anew, of members
    that were never saved, starts its rung over.
    """
    known = {(s.arm, s.seed): s for s in saved if (s.stage, s.rung) == (stage, rung)}
    found = {member: known[member] for member in members if member in known}
    return found if len(found) == len(members) else {}


def _split(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    parts = min(parts, len(items))
    cuts = [round(i * len(items) / parts) for i in range(parts + 1)] if parts else [0]
    return [items[a:b] for a, b in pairwise(cuts)]


# --- fitness and rank -------------------------------------------------------------------------


def rung_fitness(candidate: Candidate, rung: int) -> float | None:
    """Return the mean fitness over a candidate's scored runs at a rung; None if none scored."""
    return _mean_fitness([run for run in candidate.runs if run.rung == rung])


def search_fitness(candidate: Candidate) -> float | None:
    """Return the mean fitness at the highest rung that the candidate reached."""
    if not candidate.runs:
        return None
    return rung_fitness(candidate, max(run.rung for run in candidate.runs))


def native_fitness(history: History) -> float | None:
    """Return the baseline's mean fitness in the search; None before it is known."""
    return _mean_fitness(history.native)


def _mean_fitness(runs: Sequence[Run]) -> float | None:
    values = [run.fitness for run in runs if run.fitness is not None]
    # A candidate that only trains with some seeds is not better than one that always does.
    return mean(values) if values and len(values) == len(runs) else None


def ranking(history: History) -> list[Candidate]:
    """Return all candidates that reached the highest rung and were scored there, best first.

    Where a threshold let nobody get there, the highest rung that was reached counts.  Ties go to the
    earlier candidate, which is the simpler history.
    """
    candidates = [c for i in history.iterations for c in i.candidates]
    for rung in reversed(range(len(history.spec.training.rungs))):
        scored = [(rung_fitness(c, rung), c) for c in candidates]
        ranked = [(score, c) for score, c in scored if score is not None]
        if ranked or history.spec.training.threshold is None:
            break
    ranked.sort(key=lambda pair: (-pair[0], pair[1].iteration, pair[1].number))
    return [c for _, c in ranked]
