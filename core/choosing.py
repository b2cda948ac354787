"""Who is how good, and who wins: in the search, after the runoff, and on the fresh seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.records.history import History
from core.records.kinds import FITNESS, NATIVE, Stage
from core.records.measured import Run
from core.records.rounds import Candidate
from core.rungs import ranked, reached, rung_values, scored_values
from core.seeding import runoff_seeds
from core.statistics import lower_bound, mean

# --- in the search ----------------------------------------------------------------------------


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


# --- before and after the confirmation --------------------------------------------------------


def runoff_candidates(history: History) -> list[Candidate]:
    """Return the candidates of the runoff, best first; none where there is nothing to choose."""
    best = ranking(history)[: history.spec.evaluation.runoff_candidates]
    return best if len(best) > 1 else []


def finalists(history: History) -> list[Candidate]:
    """Return the candidates from which the confirmation takes the first ones, best first.

    The best of many that were measured on few seeds is mostly a lucky one.  When the runoff is over,
    those that took part come first, by all that is known of them at full length; a run that failed
    counts as the random policy's fitness.
    """
    every, tried = ranking(history), runoff_candidates(history)
    done = {(run.arm, run.seed) for run in history.runoffs}
    if not done >= {(c.key, seed) for c in tried for seed in runoff_seeds(history)}:
        return every
    # The sort is stable: ties stay in order.
    tried = sorted(tried, key=lambda c: -lower_bound(_at_full_length(history, c)))
    return [*tried, *every[len(tried) :]]


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
