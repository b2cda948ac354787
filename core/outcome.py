"""How a job ends: the chosen design against the native reward, in numbers and in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from core.loop import budget_exhausted, confirm_arms
from core.records import NATIVE, History, Interval, Outcome, Run, Verdict
from core.statistics import bootstrap_interval, iqm, mean, probability_of_improvement, verdict

FEWEST_SEEDS = 4  # with three a side no arrangement is rarer than one in ten

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
    native = _fitness(history, NATIVE)
    designs = {arm: _fitness(history, arm) for arm in confirm_arms(history) if arm != NATIVE}
    best = max(designs, key=lambda arm: (mean(designs[arm]), arm))
    designed = designs[best]
    seed = history.spec.seed
    # Who looks again after an extension may be lucky again: the threshold shrinks with every look.
    looks = 1 + history.extensions
    ruling = verdict(designed, native, chosen_from=len(designs) * looks, seed=seed)
    left, right = bootstrap_interval(designed, seed=seed), bootstrap_interval(native, seed=seed)
    return Outcome(
        verdict=ruling,
        best=best,
        native=right,
        designed=left,
        native_iqm=iqm(native),
        designed_iqm=iqm(designed),
        probability_of_improvement=probability_of_improvement(designed, native),
        sentence=sentence(ruling, left, right),
    )


def _fitness(history: History, arm: str) -> list[float]:
    runs: Sequence[Run] = [run for run in history.confirmations if run.arm == arm]
    floor = history.preflight.random_fitness if history.preflight else 0.0
    if arm == NATIVE:
        return [run.fitness for run in runs if run.fitness is not None]
    return [floor if run.fitness is None else run.fitness for run in runs]


def sentence(ruling: Verdict, designed: Interval, native: Interval) -> str:
    """Say the verdict plainly.

    >>> sentence("better", Interval(0.8, 0.7, 0.9, 5), Interval(0.0, 0.0, 0.0, 5))[-58:]
    'fitness 0.8 [0.7, 0.9] against 0 [0, 0] over 5 fresh seeds.'
    """
    numbers = (
        f"fitness {_short(designed.mean)} [{_short(designed.low)}, {_short(designed.high)}] against "
        f"{_short(native.mean)} [{_short(native.low)}, {_short(native.high)}]"
    )
    few = " That is too few to decide; four is the least." if native.n < FEWEST_SEEDS else ""
    return f"{_WORDS[ruling]}: {numbers} over {native.n} fresh seeds.{few}"


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def no_design(history: History) -> str:
    """Say why no candidate could be confirmed, with the first reason."""
    candidates = [c for i in history.iterations for c in i.candidates]
    if not candidates and (budget := budget_exhausted(history)):
        return f"The budget ({budget}) was used up before the first iteration; allow more of it."
    rejected = [c.rejection for c in candidates if c.rejection]
    failed = [run.failure for c in candidates for run in c.runs if run.failure]
    first = next(iter([*rejected, *failed]), "the designer proposed nothing")
    return (
        f"None of {len(candidates)} candidates could be trained and measured "
        f"({len(rejected)} rejected by a check, {len(failed)} runs failed). The first reason: {first}"
    )
