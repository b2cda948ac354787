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
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeAlias, TypeVar

from core.ablation import ablated_arms
from core.budgets import exhausted, iteration_cost, out_of_time, refused, rung_begun
from core.exploits import is_suspect
from core.packs import pack_count
from core.records.history import History
from core.records.kinds import FINISHED, FITNESS, NATIVE, Stage
from core.records.measured import Run, Saved
from core.records.people import Given
from core.records.rounds import Candidate, Iteration
from core.rungs import promoted, ranked, reached, rung_steps, rung_values, scored_values
from core.statistics import lower_bound, mean


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


RUNOFF_SEEDS = (
    200  # where they begin in a job's thousand; the search's are the first, fresh ones from 500
)
CONFIRM_STRIDE = 20  # seeds set aside for each confirmation of a job
MOST_SHOWN = 3  # candidates of an iteration that people are shown
MOST_EXTENSIONS = 500 // CONFIRM_STRIDE - 1

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
Member: TypeAlias = tuple[str, int]  # (arm key, seed)
T = TypeVar("T")


class Scene(NamedTuple):
    """An episode to be filmed: of an arm's best run of a stage."""

    arm: str
    episode: int
    stage: Stage = "confirm"


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
    for rung in range(len(history.spec.training.rungs)):
        done = _done(run for c in iteration.candidates for run in c.runs if run.rung == rung)
        packs = train_packs(history, iteration, rung)
        missing = tuple(
            Train(iteration.number, rung, number)
            for number, pack in enumerate(packs)
            if not set(pack) <= done
        )
        if missing:
            begun = rung_begun(history, iteration, rung)
            return (
                missing if begun or not refused(history, _rung_cost(history, rung, packs)) else ()
            )
    return ()


def _rung_cost(history: History, rung: int, packs: Iterable[Sequence[Member]]) -> int:
    training = history.spec.training
    return sum(map(len, packs)) * (rung_steps(training, rung) - rung_steps(training, rung - 1))


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
    """Name the budget that does not allow another iteration, or None."""
    return exhausted(history, next_candidates(history))


def next_cost(history: History) -> int:
    """Return the environment steps of the next iteration if every candidate is trained."""
    return iteration_cost(history.spec, next_candidates(history))


def next_candidates(history: History) -> int:
    """Return how many candidates the next iteration has, people's own programs included."""
    planned = 0 if plan_fulfilled(history) else history.spec.candidates
    return planned + len(waiting_programs(history))


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
    found, suspect = history.preflight, partial(is_suspect, history)
    chance = found.random_fitness if found else float("-inf")
    for before in range(rung):
        alive = promoted(history.spec.training, chance, alive, before, suspect)
    return alive


def runoff_seeds(history: History) -> tuple[int, ...]:
    """Return the training seeds of the runoff; an extension leaves them, so that runs still count."""
    first = 1_000 * history.spec.seed + RUNOFF_SEEDS
    return tuple(range(first, first + history.spec.evaluation.runoff_seeds))


def runoff_packs(history: History) -> list[tuple[Member, ...]]:
    """Split the runoff into packs, candidates whole; empty where there is nothing to choose."""
    best = ranking(history)[: history.spec.evaluation.runoff_candidates]
    if len(best) < 2:
        return []
    seeds = runoff_seeds(history)
    count = pack_count(history.spec.training, history.preflight, len(best) * len(seeds))
    return [tuple((c.key, s) for c in part for s in seeds) for part in _split(best, count)]


def finalists(history: History) -> list[Candidate]:
    """Return the candidates from which the confirmation takes the first ones, best first.

    The best of many that were measured on few seeds is mostly a lucky one.  When the runoff is over,
    those that took part come first, by all that is known of them at full length; a run that failed
    counts as the random policy's fitness.
    """
    ranked = ranking(history)
    members = {member for pack in runoff_packs(history) for member in pack}
    if not members <= _done(history.runoffs):
        return ranked
    arms = {arm for arm, _ in members}
    tried = [c for c in ranked if c.key in arms]
    tried.sort(
        key=lambda c: -lower_bound(_at_full_length(history, c))
    )  # stable: ties stay in order
    return [*tried, *(c for c in ranked if c.key not in arms)]


def _at_full_length(history: History, candidate: Candidate) -> list[float]:
    last = len(history.spec.training.rungs) - 1
    runs = [run for run in candidate.runs if run.rung == last]
    runs += [run for run in history.runoffs if run.arm == candidate.key]
    return or_chance(history, runs)


def confirm_arms(history: History) -> tuple[str, ...]:
    """Return the arms of the confirmation: those that are compared with, and the best candidates."""
    best = finalists(history)[: history.spec.evaluation.confirm_candidates]
    return (*trusted_arms(history), *(c.key for c in best)) if best else ()


def trusted_arms(history: History) -> tuple[str, ...]:
    """Return the arms that run no generated code."""
    return (NATIVE, FITNESS) if history.spec.evaluation.fitness_alone else (NATIVE,)


def confirm_packs(history: History) -> list[tuple[Member, ...]]:
    """Split the confirmation into packs; each arm without generated code has one of its own.

    Members of a pack share a process.  No program may stand beside the runs that it is compared with;
    a member's curve does not depend on its pack, so the conditions stay equal.
    """
    arms = confirm_arms(history)
    if not arms:
        return []
    seeds = confirm_seeds(history)
    trusted = trusted_arms(history)
    others = [tuple((arm, seed) for seed in seeds) for arm in trusted]
    designed = [(arm, seed) for arm in arms if arm not in trusted for seed in seeds]
    parts = pack_count(history.spec.training, history.preflight, len(designed), len(others))
    return [*others, *map(tuple, _split(designed, parts))]


def winner(history: History) -> Candidate | None:
    """Return the candidate with the best mean on the fresh seeds; None before they are known.

    A design of which a confirmation run failed is judged by its missing value as well.
    """
    arms = [arm for arm in confirm_arms(history) if arm not in trusted_arms(history)]
    known = {arm: confirmed_fitness(history, arm) for arm in arms}
    measured = [arm for arm in arms if known[arm]]
    if not measured:
        return None
    best = max(measured, key=lambda arm: (mean(known[arm]), arm))
    return next(c for i in history.iterations for c in i.candidates if c.key == best)


def confirmed_fitness(history: History, arm: str) -> list[float]:
    """Return the fitness of each confirmation run of an arm.

    A failed run of a design counts as the random policy's fitness, because a user would have got just
    that; one without generated code is left out.
    """
    runs = [run for run in history.confirmations if run.arm == arm]
    if arm in (NATIVE, FITNESS):
        return [run.fitness for run in runs if run.fitness is not None]
    return or_chance(history, runs)


def or_chance(history: History, runs: Iterable[Run]) -> list[float]:
    """Return the fitness of runs; that of the random policy where one failed, as a user gets it."""
    floor = history.preflight.random_fitness if history.preflight else 0.0
    return [floor if run.fitness is None else run.fitness for run in runs]


def best_run(history: History, arm: str, stage: Stage = "confirm") -> Run | None:
    """Return the run of an arm in a stage whose policy did best; None if no policy was kept.

    In the search it is one of the highest rung that the candidate reached.
    """
    own = [run for run in _runs_of(history, arm, stage) if run.weights is not None]
    known = [run for run in own if run.fitness is not None]
    return max(known, key=lambda run: (run.fitness or 0.0, -run.seed), default=None)


def _runs_of(history: History, arm: str, stage: Stage) -> Sequence[Run]:
    if stage == "search":
        found = (c for i in history.iterations for c in i.candidates if c.key == arm)
        return [run for c in found for run in c.runs if run.rung == reached(c)]
    runs = history.native if stage == "baseline" else history.confirmations
    return [run for run in runs if run.arm == arm]


def transfer_packs(history: History) -> list[tuple[Member, ...]]:
    """Return the packs of the user's own learner; empty unless there is one."""
    best = winner(history) if history.spec.evaluation.transfer is not None else None
    if best is None:
        return []
    return [tuple((arm, seed) for seed in confirm_seeds(history)) for arm in (NATIVE, best.key)]


def ablation_packs(history: History) -> list[tuple[Member, ...]]:
    """Split the ablation into packs, whole arms together; empty unless it is asked for."""
    best = winner(history) if history.spec.evaluation.ablate else None
    arms = [] if best is None else list(ablated_arms(best))
    if best is None or not arms:
        return []
    seeds = ablation_seeds(history)
    every = [best.key, *arms]
    count = pack_count(history.spec.training, history.preflight, len(every) * len(seeds))
    return [tuple((arm, s) for arm in part for s in seeds) for part in _split(every, count)]


def ablation_seeds(history: History) -> tuple[int, ...]:
    """Return the search's seeds, and as many more as a verdict needs; others after an extension."""
    return tuple(_ablated(history))


def _ablated(history: History) -> range:
    first = 1_000 * history.spec.seed + CONFIRM_STRIDE * history.extensions
    return range(first, first + history.spec.evaluation.confirm_seeds)


def present_ablation(history: History, runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the runs that belong to the ablation that is wanted now, not to an earlier one."""
    seeds = _ablated(history)
    return tuple(run for run in runs if run.seed in seeds)


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


def to_film(history: History) -> tuple[Scene, ...]:
    """Return every episode of the winner and of the native reward that is still to be filmed.

    What could not be filmed is stored as well, with the reason, and is not tried again.
    """
    best = winner(history)
    return (
        ()
        if best is None
        else _missing_scenes(history, [(best.key, "confirm"), (NATIVE, "confirm")])
    )


def to_show(history: History, iteration: int) -> tuple[Scene, ...]:
    """Return every episode that is still to be filmed before people judge an iteration.

    They see the best candidates of the search and the native reward, all of them on the same seeds.
    """
    judged = ranked(history.iterations[iteration].candidates)[:MOST_SHOWN]
    arms: list[tuple[str, Stage]] = [(c.key, "search") for c in judged]
    return _missing_scenes(history, [*arms, (NATIVE, "baseline")]) if judged else ()


def _missing_scenes(history: History, arms: Sequence[tuple[str, Stage]]) -> tuple[Scene, ...]:
    known = {Scene(one.arm, one.episode, one.stage) for one in history.rollouts}
    episodes = range(history.spec.evaluation.rollouts)
    wanted = [Scene(arm, n, stage) for arm, stage in arms for n in episodes]
    return tuple(scene for scene in wanted if scene not in known)


# --- fitness and rank -------------------------------------------------------------------------


def rung_fitness(candidate: Candidate, rung: int) -> float | None:
    """Return the mean fitness over a candidate's scored runs at a rung; None if none scored."""
    values = rung_values(candidate, rung)
    return None if values is None else mean(values)


def search_fitness(candidate: Candidate) -> float | None:
    """Return the mean fitness at the highest rung that the candidate reached."""
    return rung_fitness(candidate, reached(candidate)) if candidate.runs else None


def native_fitness(history: History) -> float | None:
    """Return the baseline's mean fitness in the search; None before it is known."""
    values = scored_values(history.native)
    return None if values is None else mean(values)


def ranking(history: History) -> list[Candidate]:
    """Return the candidates that were scored at the highest rung reached, best first.

    The first is the incumbent; see `core.rungs.ranked`.
    """
    return ranked([c for i in history.iterations for c in i.candidates])
