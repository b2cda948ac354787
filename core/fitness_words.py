"""A candidate's fitness in words: of which trainings it is the mean, how far they went, how sure it is.

Two seeds that happen to agree prove no precision, so their values are told instead of an error, and the
error that verdicts in words allow for is pooled over the job.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from core.choosing import rung_fitness
from core.once import once
from core.records.history import History
from core.records.rounds import Candidate
from core.records.spec import Training
from core.rungs import reached, rung_steps, rung_values
from core.statistics import standard_error
from core.words import number, signed, spread

BEST_FIRST = (
    "Best first, by mean fitness less its standard error; designs that were stopped early stand after "
    "those that were trained to the end."
)


def fitness_words(
    candidate: Candidate, training: Training | None, best: Candidate | None = None
) -> str:
    """Write a candidate's fitness with its seeds, and where its training was stopped.

    Who was stopped is held against the best at equal steps: what a third of the training reached says
    nothing beside what all of it did.
    """
    told = spread(seed_fitness(candidate))
    if training is None or not stopped_early(candidate, training):
        return told
    told += f", stopped after {steps_words(candidate, training)}"
    there = None if best is None else rung_fitness(best, reached(candidate))
    own = rung_fitness(candidate, reached(candidate))
    if best is None or there is None or own is None or best.key == candidate.key:
        return told
    return f"{told}, where {best.key} had {number(there)} ({signed(own - there)})"


def stopped_early(candidate: Candidate, training: Training) -> bool:
    """Tell whether a trained candidate did not reach the last rung."""
    return 0 <= reached(candidate) < len(training.rungs) - 1


def steps_words(candidate: Candidate, training: Training) -> str:
    """Say how far a candidate was trained.

    >>> from core.records.measured import Run
    >>> run = Run("search", "0.0", 0, 0, "scored", 0.5)
    >>> training = Training(steps=30_000, rungs=(0.35, 1.0))
    >>> steps_words(Candidate(0, 0, "seed", "trained", runs=(run,)), training)
    '10,500 of 30,000 steps'
    """
    return f"{rung_steps(training, reached(candidate)):,} of {training.steps:,} steps"


def seed_fitness(candidate: Candidate) -> list[float]:
    """Return the fitness of each scored seed at the highest rung that the candidate reached."""
    last = reached(candidate)
    return [r.fitness for r in candidate.runs if r.rung == last and r.fitness is not None]


def seed_error(history: History, candidate: Candidate) -> float:
    """Return the standard error of a candidate's mean fitness; 0 where nothing shows any spread.

    The larger of its own and of what the spread within all candidates of its rung makes of as many
    seeds.
    """
    own = seed_fitness(candidate)
    if not own:
        return 0.0
    pooled = _variances(history).get(reached(candidate), 0.0) / len(own)
    return max(standard_error(own), math.sqrt(pooled))


@once
def _variances(history: History) -> Mapping[int, float]:
    """Return the variance between the seeds of a candidate by rung, pooled over the job."""
    pooled: dict[int, float] = {}
    for rung in range(len(history.spec.training.rungs)):
        known = [rung_values(c, rung) for i in history.iterations for c in i.candidates]
        samples = [values for values in known if values is not None and len(values) > 1]
        # With v the squared standard error of n values, n v is their variance.
        squares = [len(values) * standard_error(values) ** 2 for values in samples]
        pooled[rung] = sum(squares) / len(squares) if squares else 0.0
    return pooled
