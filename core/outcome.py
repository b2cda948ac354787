"""How a job ends: the chosen design against the native reward, in numbers and in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

from core.ablation import ablated_arms
from core.budgets import learner_steps
from core.choosing import confirm_arms, confirmed_fitness, or_chance, trusted_arms, winner
from core.learners import read_learner
from core.packing import cut_short
from core.records.history import History
from core.records.kinds import FITNESS, NATIVE, Json, Verdict
from core.records.outcome import Ablated, Interval, Outcome
from core.searching import budget_exhausted
from core.statistics import (
    bootstrap_interval,
    difference_interval,
    iqm,
    mean,
    probability_of_improvement,
    verdict,
)

SIGNIFICANCE = 0.05

_WORDS: dict[Verdict, str] = {
    "better": "The designed reward is better than the native one",
    "equal": "The designed reward cannot be told from the native one",
    "worse": "The native reward was better than the designed one",
}


def decide(history: History) -> Outcome:
    """Compare the best confirmed design with the native reward on the same fresh seeds.

    A design of which a confirmation run failed is judged by its missing value as well: it counts as
    the random policy's fitness, because a user would have got just that.

    Raises:
        ValueError: no confirmed baseline run.
    """
    native = confirmed_fitness(history, NATIVE)
    finalists = [arm for arm in confirm_arms(history) if arm not in trusted_arms(history)]
    best = winner(history)
    if best is None:
        raise ValueError("expected a confirmed design, but there is none")
    designed, seed = confirmed_fitness(history, best.key), history.spec.seed
    # Who looks again after an extension may be lucky again: the threshold shrinks with every look.
    chosen_from = len(finalists) * (1 + history.extensions)
    ruling = verdict(designed, native, chosen_from=chosen_from, seed=seed)
    left, right = bootstrap_interval(designed, seed=seed), bootstrap_interval(native, seed=seed)
    outcome = Outcome(
        verdict=ruling,
        best=best.key,
        native=right,
        designed=left,
        native_iqm=iqm(native),
        designed_iqm=iqm(designed),
        probability_of_improvement=probability_of_improvement(designed, native),
        sentence=sentence(ruling, left, right, chosen_from) + _failed(history, best.key),
        ablation=ablation(history),
        transfer=transfer(history),
    )
    return _with_fitness_alone(outcome, history, designed, native)


def _with_fitness_alone(
    outcome: Outcome, history: History, designed: Sequence[float], native: Sequence[float]
) -> Outcome:
    alone = confirmed_fitness(history, FITNESS)
    if not alone:
        return outcome
    seed = history.spec.seed
    return replace(
        outcome,
        fitness_alone=bootstrap_interval(alone, seed=seed),
        normalised=normalised(designed, alone, native, seed=seed),
    )


def normalised(
    designed: Sequence[float], alone: Sequence[float], reference: Sequence[float], *, seed: int = 0
) -> float | None:
    """Return (designed − fitness alone) / |reference − fitness alone|, of the means.

    None where the interval of the denominator holds 0: a ratio to nothing says nothing.  Source: Ma et
    al. 2024, Eureka (arXiv 2310.12931), where the reference is a reward written by people.

    >>> normalised([3.0, 3.0], [1.0, 1.0], [2.0, 2.0])
    2.0
    """
    gap = difference_interval(reference, alone, seed=seed)
    if gap.low <= 0.0 <= gap.high:
        return None
    return (mean(designed) - mean(alone)) / abs(gap.mean)


def ablation(history: History) -> tuple[Ablated, ...]:
    """Return what each term of the winner is worth: the winner without it against the whole winner.

    By the same seeds and steps.  The verdict is "worse" where the winner is worse without the term.  It
    is not corrected for the number of terms: of forty that do nothing, one is called worse by chance.
    """
    best = winner(history)
    if best is None or not history.ablations:
        return ()
    whole = _ablated_fitness(history, best.key)
    found = []
    for arm, (kind, name) in ablated_arms(best).items():
        values = _ablated_fitness(history, arm)
        if not values or not whole:
            continue
        seed = history.spec.seed
        interval = bootstrap_interval(values, seed=seed)
        ruling = verdict(values, whole, seed=seed)
        found.append(Ablated(kind, name, interval, mean(values) - mean(whole), ruling))
    return tuple(found)


def transfer(history: History) -> Json | None:
    """Return how the winner does under the user's own learner, beside the native reward under it."""
    wished, best = history.spec.evaluation.transfer, winner(history)
    if wished is None or best is None:
        return None
    native = [r.fitness for r in history.transfers if r.arm == NATIVE and r.fitness is not None]
    designed = or_chance(history, (run for run in history.transfers if run.arm == best.key))
    if not native or not designed:
        return None
    learner, seed = read_learner(wished), history.spec.seed
    return {
        "library": learner.library,
        "algorithm": learner.algorithm,
        "steps": learner_steps(history.spec),
        "native": asdict(bootstrap_interval(native, seed=seed)),
        "designed": asdict(bootstrap_interval(designed, seed=seed)),
        "verdict": verdict(designed, native, seed=seed),
    }


def _ablated_fitness(history: History, arm: str) -> list[float]:
    return or_chance(history, (run for run in history.ablations if run.arm == arm))


# --- words ------------------------------------------------------------------------------------


def sentence(ruling: Verdict, designed: Interval, native: Interval, finalists: int = 1) -> str:
    """Say the verdict plainly.

    >>> sentence("better", Interval(0.8, 0.7, 0.9, 5), Interval(0.0, 0.0, 0.0, 5))[-59:]
    'fitness 0.8 [0.7, 0.9] against 0 [0, 0] over 5 fresh seeds.'
    """
    numbers = (
        f"fitness {_short(designed.mean)} [{_short(designed.low)}, {_short(designed.high)}] against "
        f"{_short(native.mean)} [{_short(native.low)}, {_short(native.high)}]"
    )
    few = ""
    if not decidable(designed.n, native.n, finalists):
        least = next(n for n in range(2, 100) if decidable(n, n, finalists))
        least_words = {4: "four", 5: "five", 6: "six"}.get(least, str(least))
        few = f" That is too few to decide; {least_words} is the least."
    counts = f"{native.n}" if designed.n == native.n else f"{designed.n} and {native.n}"
    seeds = "seed" if counts == "1" else "seeds"
    return f"{_WORDS[ruling]}: {numbers} over {counts} fresh {seeds}.{few}"


def _failed(history: History, arm: str) -> str:
    """Say how many trainings of a design chance stands in for; nothing where none failed."""
    runs = [run for run in history.confirmations if run.arm == arm]
    failed = sum(run.fitness is None for run in runs)
    return (
        f" Of the design's {len(runs)} trainings {failed} failed; each counts as the random policy."
        if failed
        else ""
    )


def decidable(designed: int, native: int, finalists: int = 1) -> bool:
    """Tell whether so many runs a side could ever be told apart.

    With three a side no arrangement is rarer than one in ten.

    >>> decidable(3, 3), decidable(4, 4), decidable(4, 4, finalists=2)
    (False, True, False)
    """
    rarest = (2 if designed == native else 1) / math.comb(designed + native, native)
    return rarest <= SIGNIFICANCE / finalists


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def no_design(history: History) -> str:
    """Say why no candidate could be confirmed, with the first reason."""
    candidates = [c for i in history.iterations for c in i.candidates]
    if not any(c.runs for c in candidates) and (budget := _untrained_for(history)):
        first = "any candidate could be trained" if candidates else "the first iteration"
        return f"The budget ({budget}) was used up before {first}; allow more of it."
    rejected = [c.rejection for c in candidates if c.rejection]
    failed = [run.failure for c in candidates for run in c.runs if run.failure]
    first = next(iter([*rejected, *failed]), "the designer proposed nothing")
    return (
        f"None of {len(candidates)} candidates could be trained and measured "
        f"({len(rejected)} rejected by a check, {len(failed)} runs failed). The first reason: {first}"
    )


def _untrained_for(history: History) -> str | None:
    """Name the budget that did not allow a first iteration, or its training."""
    if not history.iterations:
        return budget_exhausted(history)
    return next(filter(None, (cut_short(history, i) for i in history.iterations)), None)
