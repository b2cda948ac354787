"""Successive halving: who goes on to the next rung, and how candidates are ranked.

Source: Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification" (arXiv 1502.07943).  All
candidates share their seeds, so that a rung compares programs and not luck.  What is uncertain is
judged by its lower confidence bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from core.records.measured import Run
from core.records.rounds import Candidate
from core.records.spec import Training
from core.statistics import lower_bound, mean

HOPELESS_AFTER = 0.6  # of the steps: who is not above chance by then, where others are, is given up

Suspect = Callable[[Candidate, int], bool]
"""Tells whether a candidate, after a rung, earns more and more without becoming any better."""


def rung_steps(training: Training, rung: int) -> int:
    """Return the environment steps per run at the end of a rung; -1 stands for the start."""
    return 0 if rung < 0 else round(training.steps * training.rungs[rung])


def survivors(training: Training, alive: int) -> int:
    """Return how many of `alive` candidates go on to the next rung, at least one."""
    return max(1, round(alive * training.keep)) if alive else 0


def rung_values(candidate: Candidate, rung: int) -> list[float] | None:
    """Return the fitness of each run of a candidate at a rung; None unless all were scored.

    A candidate that only trains with some seeds is not better than one that always does.
    """
    return scored_values([run for run in candidate.runs if run.rung == rung])


def scored_values(runs: Sequence[Run]) -> list[float] | None:
    """Return the fitness of runs; None if there are none, or one of them has no fitness."""
    values = [run.fitness for run in runs if run.fitness is not None]
    return values if values and len(values) == len(runs) else None


def reached(candidate: Candidate) -> int:
    """Return the highest rung that a candidate has runs of; -1 if it has none."""
    return max((run.rung for run in candidate.runs), default=-1)


def never(candidate: Candidate, rung: int) -> bool:
    """Suspect nobody."""
    return False


def promoted(
    training: Training,
    chance: float,
    alive: Sequence[Candidate],
    rung: int,
    suspect: Suspect = never,
) -> list[Candidate]:
    """Return the candidates that go on after a rung, in their order.

    `chance` is the random policy's fitness.

    The best by mean − standard error go on.  Where nobody beats the random policy, their order is
    followed as well (docs/results/rungs.md), but single runs order by luck there, so that all go on,
    and who ties with the last that goes on is not left behind either: a rung that tells nobody from
    another keeps all.  Nobody is suspected yet.  Otherwise nobody goes on who does not beat it after
    most of the steps, and no suspected exploit, or of suspects alone the best.  Where the job has a
    threshold, only those go on who beat the random policy by more than it, and if nobody does, nobody.
    """
    scored = {c.number: values for c in alive if (values := rung_values(c, rung)) is not None}
    standing = [c for c in alive if c.number in scored]
    if training.threshold is not None:
        bar = chance + training.threshold
        standing = [c for c in standing if mean(scored[c.number]) > bar]
        return _best(standing, scored, survivors(training, len(standing)), rung, suspect)
    count = survivors(training, len(scored))
    hopeful = [c for c in standing if mean(scored[c.number]) > chance]
    if not hopeful:
        return standing if training.seeds == 1 else _best_and_ties(standing, scored, count)
    left = hopeful if training.rungs[rung] >= HOPELESS_AFTER else standing
    return _best(left, scored, count, rung, suspect)


def _best_and_ties(
    left: Sequence[Candidate], scored: Mapping[int, Sequence[float]], count: int
) -> list[Candidate]:
    """Return the best of those left, and all that are as good as the last of them."""
    bounds = {c.number: lower_bound(scored[c.number]) for c in left}
    bar = sorted(bounds.values(), reverse=True)[:count][-1:]
    return [c for c in left if bounds[c.number] >= bar[0]]


def _best(
    left: Sequence[Candidate],
    scored: Mapping[int, Sequence[float]],
    count: int,
    rung: int,
    suspect: Suspect,
) -> list[Candidate]:
    """Return the best of those left, no suspects among them; the best suspect if there is nobody else.

    Not more than one of those: who has gone on is suspected no longer, and it would leave the rest.
    """
    honest = [c for c in left if not suspect(c, rung)]
    best_first = sorted(honest or left, key=lambda c: (-lower_bound(scored[c.number]), c.number))
    kept = {c.number for c in best_first[: count if honest else 1]}
    return [c for c in left if c.number in kept]


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that were scored at the highest rung that anybody reached, best first.

    By mean − standard error, so that the incumbent gives way only to somebody who is better for sure
    or surely no worse; over simulated jobs this chose as well as the mean where runs scatter alike, and
    better where some scatter more.  Ties go to the earlier candidate, which is the simpler history.
    """
    last = [(reached(c), rung_values(c, reached(c)), c) for c in candidates]
    top = max((rung for rung, values, _ in last if values is not None), default=-1)
    scored = [(values, c) for rung, values, c in last if rung == top and values is not None]
    scored.sort(key=lambda pair: (-lower_bound(pair[0]), pair[1].iteration, pair[1].number))
    return [c for _, c in scored]
