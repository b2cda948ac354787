"""Which way of asking a slot gets: a bandit over models, prompts and feedback, where a job has arms.

Source: Thompson 1933, "On the likelihood that one unknown probability exceeds another" (Biometrika 25),
with a cost for each pull as in Xia et al. 2015, "Thompson Sampling for Budgeted Multi-Armed Bandits"
(IJCAI).  An arm's chance of an improvement has the prior Beta(1, 1); a slot is asked by the arm for
which a draw of that chance, divided by what a candidate of the arm costs, is the largest.

An improvement is a candidate whose mean − standard error, at the highest rung that it reached, beats
the incumbent of the iterations before its own at the same rung; before there is one, the native reward
at the end of its training.  What was rejected, screened or failed to train was paid for and is none.

A candidate costs its questions, repairs included, and its training.  Questions are counted in money
where all have a price, in tokens otherwise, against their mean over all arms.  The training costs all
arms alike and stands as one such mean, so that an arm cannot win by being cheap alone.

Only closed iterations count, and the draws are keyed by job seed, iteration and slot: whoever resumes a
step makes the same choice.  All slots of an iteration draw from the same posterior; that spreads them
over the arms while little is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt

import numpy as np

from core.budgets import unasked
from core.records.history import History
from core.records.rounds import Candidate, Feedback
from core.records.spec import Variant
from core.rungs import ranked, reached, rung_values, scored_values
from core.statistics import lower_bound, mean

TRAINING = 1.0  # what a candidate costs beside its questions, in means of these
_ARMS = 7_001  # keys the draws apart from all others of a slot


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is known of an arm.

    Attributes:
        name:     of the arm.
        asked:    its candidates in closed iterations.
        improved: how many of them were an improvement.
        alpha, beta: of its chance of an improvement, a Beta distribution.
        mean, deviation: of that distribution.
        tokens, money: mean of a candidate's questions; 0 where nothing was asked or priced.
        cost:     of a candidate, in means over all arms of what a candidate's questions cost.
    """

    name: str
    asked: int
    improved: int
    alpha: float
    beta: float
    mean: float
    deviation: float
    tokens: float
    money: float
    cost: float


def variant_for(history: History, iteration: int, slot: int) -> Variant | None:
    """Return the arm by which a slot is asked; None in a job without arms."""
    arms = history.spec.arms
    if not arms:
        return None
    chance = np.random.default_rng([history.spec.seed, iteration, slot, _ARMS])
    draws = [chance.beta(p.alpha, p.beta) / p.cost for p in posteriors(history)]
    return arms[int(np.argmax(draws))]


def posteriors(history: History) -> tuple[Posterior, ...]:
    """Return what closed iterations teach of each arm, in the job's order."""
    judged = _judged(history)
    names = [arm.name for arm in history.spec.arms]
    judged = [(candidate, won) for candidate, won in judged if candidate.arm in names]
    priced = bool(judged) and all(candidate.money > 0.0 for candidate, _ in judged)
    paid = [candidate.money if priced else float(candidate.tokens) for candidate, _ in judged]
    usual = mean(paid) if paid else 0.0
    return tuple(_posterior(name, judged, paid, usual) for name in names)


def _posterior(
    name: str, judged: Sequence[tuple[Candidate, bool]], paid: Sequence[float], usual: float
) -> Posterior:
    own = [(candidate, won) for candidate, won in judged if candidate.arm == name]
    improved = sum(won for _, won in own)
    alpha, beta = 1.0 + improved, 1.0 + len(own) - improved
    both = alpha + beta
    # The mean over all arms stands in for a question of an arm that was not asked yet.
    costs = [usual, *(p for p, (c, _) in zip(paid, judged, strict=True) if c.arm == name)]
    return Posterior(
        name=name,
        asked=len(own),
        improved=improved,
        alpha=alpha,
        beta=beta,
        mean=alpha / both,
        deviation=sqrt(alpha * beta / (both**2 * (both + 1.0))),
        tokens=mean([float(c.tokens) for c, _ in own]) if own else 0.0,
        money=mean([c.money for c, _ in own]) if own else 0.0,
        cost=TRAINING + (mean(costs) / usual if usual > 0.0 else 1.0),
    )


def with_posteriors(history: History, feedback: Feedback) -> Feedback:
    """Return an iteration's feedback with what it teaches of the arms among its data."""
    if not history.spec.arms:
        return feedback
    closed = tuple(
        replace(i, feedback=feedback) if i.number == feedback.iteration else i
        for i in history.iterations
    )
    known = posteriors(replace(history, iterations=closed))
    return replace(feedback, data={**feedback.data, "arms": [asdict(p) for p in known]})


# --- what is an improvement -------------------------------------------------------------------


def _judged(history: History) -> list[tuple[Candidate, bool]]:
    """Return the candidates of closed iterations that an arm was asked for, and who improved."""
    judged: list[tuple[Candidate, bool]] = []
    before: list[Candidate] = []
    for iteration in history.iterations:
        if iteration.feedback is None:
            continue
        incumbent = next(iter(ranked(before)), None)
        judged += [
            (candidate, _improves(history, candidate, incumbent))
            for candidate in iteration.candidates
            if candidate.arm is not None and not unasked(candidate)
        ]
        before += iteration.candidates
    return judged


def _improves(history: History, candidate: Candidate, incumbent: Candidate | None) -> bool:
    rung = reached(candidate)
    values = rung_values(candidate, rung)
    if values is None:
        return False
    before = scored_values(history.native) if incumbent is None else rung_values(incumbent, rung)
    return before is None or lower_bound(values) > mean(before)
