"""Screens: what can be said against a program before any training.  Decisions on numbers, nothing else.

duplicate  it pays what a known program pays, up to scale and up to potential shaping
order      it does not pay more for the better of two stored trajectories
exploit    it pays well for trajectories of a known exploit
scale      what it pays is out of all proportion

Each screen passes, fails, or abstains while it cannot know.  A candidate is dropped if a screen fails
and enough others of its iteration are left.  Sources: CARD (Sun et al. 2025) for the order; EPIC
(Gleave et al. 2021, arXiv 2006.13900) for the canonical form; `docs/screens.md` for the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.choosing import search_fitness
from core.exploits import exploits
from core.ordering import Order, best_order, likeness, tells_apart
from core.ports import (
    Doubles,
    Screened,
    Screening,
    ScreenNumbers,
    ScreenOrder,
    Trajectory,
)
from core.program import same_code
from core.records.history import History
from core.records.kinds import Json
from core.records.programs import Screen
from core.records.rounds import Candidate
from core.rungs import rung_steps
from core.trajectories import MOST_TRAJECTORIES, sources
from core.words import number, one_line, percent

ALIKE = 0.995  # Pearson
SUMS_ALIKE = 0.95  # of whole trajectories, for copies with other shaping: both ends of it stay
FEWEST_SUMS = 10
LEFT = 0.1  # share of the standard deviation that must be left without the shaping
FEWEST_PAIRS = 20
LEAST_TAU = 0.2
LEAST_ACCURACY = 0.6
HONEST = 0.4  # quantile of what honest trajectories are paid
FEWEST_BETTER = 3
FEWEST_HONEST = 5
KIN = 0.8  # Pearson with the exploit's own reward, where no honest trajectory did better than it
LARGE = 1e3  # discounted return
LARGEST = {True: 1e6, False: 1e4}  # by whether the learner divides rewards by their scale
SAME_WEIGHT = 1.25  # in mode "add" the scale decides: up to this ratio it is the same
MOST_KNOWN = 40
SHOWN_CELLS = 8


# --- the order --------------------------------------------------------------------------------


def screen_order(
    history: History, candidates: Sequence[Candidate], *, shown: bool = False
) -> ScreenOrder:
    """Write the order for the numbers of candidates, known ones or new ones.

    `shown` says whether rows of the worst-ordered pair are wanted.
    """
    spec, found = history.spec, history.preflight
    assert found is not None  # the loop proposes nothing before
    programs = {c.key: c.program for c in candidates if c.program is not None}
    return ScreenOrder(
        preflight=found,
        training=spec.training,
        mode=spec.mode,
        weight=spec.weight,
        programs=programs,
        asked=frozenset(programs) if shown else frozenset(),
        sources=sources(history),
        trajectories=MOST_TRAJECTORIES,
    )


def known_candidates(history: History) -> tuple[Candidate, ...]:
    """Return the trained candidates of closed iterations: exploits, then from the newest on."""
    closed = [i for i in history.iterations if i.feedback is not None]
    trained = [c for i in closed for c in i.candidates if c.runs and c.program is not None]
    first = {c.key: c for c in (*exploits(history), *reversed(trained))}
    return tuple(first.values())[:MOST_KNOWN]


# --- the verdicts -----------------------------------------------------------------------------


def judge(
    history: History, candidates: Sequence[Candidate], screening: Screening
) -> tuple[Screened, ...]:
    """Say what the screens decide of an iteration's sound candidates.

    In the order of the slots: a candidate is compared with the known ones and with those before it
    that stay.  It is dropped if a screen fails and at least ⌈K/3⌉ others of the iteration are still
    there.  What people handed in is screened like the rest, and trained whatever the screens say.
    """
    training = history.spec.training
    least = math.ceil(history.spec.candidates / 3)
    staying = [c.key for c in candidates]
    known = list(known_candidates(history))
    decided = []
    for candidate in candidates:
        case = Case(history, candidate, screening, tuple(known))
        screens = tuple(SCREENS[name](case) for name in history.spec.screens)
        failed = any(screen.verdict == "fail" for screen in screens)
        dropped = failed and candidate.given is None and len(staying) - 1 >= least
        if dropped:
            staying.remove(candidate.key)
        else:
            known.append(candidate)
        saved = training.seeds * rung_steps(training, 0) if dropped else 0
        decided.append(Screened(candidate.key, screens, dropped, saved))
    return tuple(decided)


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate before its screens: the numbers, and the candidates that it is compared with."""

    history: History
    candidate: Candidate
    screening: Screening
    known: tuple[Candidate, ...]

    @property
    def numbers(self) -> ScreenNumbers | None:
        """Return what its program says; None if it broke on rows that policies met."""
        return self.screening.numbers.get(self.candidate.key)

    @property
    def broken(self) -> str:
        """Say why there are no numbers."""
        return f"{BROKEN} {self.screening.broken.get(self.candidate.key, '')}".rstrip()

    @property
    def fitness(self) -> Doubles:
        """Return the fitness of the stored trajectories [T]."""
        return np.array([one.fitness for one in self.screening.trajectories], np.float64)


def _abstain(name: str, why: str) -> Screen:
    return Screen(name, "abstain", None, why)


BROKEN = "The program broke on rows that policies met, so nothing is known of it."
NATIVE_REWARD = "It trains on the native reward."


# --- duplicate --------------------------------------------------------------------------------


def duplicate(case: Case) -> Screen:
    """Look for a known candidate that pays the same and has the same features.

    Rewards are the same if they go together (Pearson above 0.995) step by step and in the sums of
    stored trajectories, or after what potential shaping adds was removed.  Shaping changes how soon is
    learnt, and nothing else; so a shaped copy counts as new where the known one never rose above the
    random policy, and where nearly all that is paid is shaping there is nothing left to compare.
    """
    mine = case.numbers
    if mine is None:
        return _abstain("duplicate", case.broken)
    closest: tuple[float, str] | None = None
    for other in case.known:
        theirs = case.screening.numbers.get(other.key)
        score = 1.0 if _same_code(case.candidate, other) else _alike(case, mine, other, theirs)
        if score is not None and (closest is None or score > closest[0]):
            closest = (score, other.key)
    if closest is None:
        return _abstain("duplicate", "There is no known program to compare it with.")
    score, key = closest
    if score <= ALIKE:
        return Screen("duplicate", "pass", score, "", key)
    return Screen("duplicate", "fail", score, duplicate_words(key, score), key)


def known_duplicate(history: History, candidate: Candidate, screening: Screening) -> Screen:
    """Compare one candidate with those of closed iterations alone."""
    return duplicate(Case(history, candidate, screening, known_candidates(history)))


def duplicate_words(key: str, score: float) -> str:
    """Say what a duplicate is, to people and to its author."""
    return (
        f"It pays what candidate {key} pays (correlation {score:.4f} over sampled transitions, up to "
        f"scale and potential differences; above {ALIKE} counts as the same) and shows the policy the "
        "same. Its result is known."
    )


def _same_code(one: Candidate, other: Candidate) -> bool:
    return (
        one.program is not None
        and other.program is not None
        and same_code(one.program, other.program)
    )


def _alike(
    case: Case, mine: ScreenNumbers, other: Candidate, theirs: ScreenNumbers | None
) -> float | None:
    """Return how alike two rewards are; None if that cannot be said or the features differ."""
    if theirs is None or not _same_features(mine.features, theirs.features):
        return None
    if mine.reward is None or theirs.reward is None:
        # Both train on the native reward with the same features; one alone is another thing.
        return 1.0 if mine.reward is theirs.reward and len(mine.features) else None
    if case.history.spec.mode == "add" and not _same_weight(mine.reward, theirs.reward):
        return None
    sums = _sums_alike(mine, theirs)
    plain = _least(likeness(mine.reward, theirs.reward), sums)
    shaped = _without_shaping(mine, theirs) if _learnt(case.history, other) else None
    if sums is not None and sums < SUMS_ALIKE:
        shaped = None
    known = [score for score in (plain, shaped) if score is not None]
    return max(known) if known else None


def _sums_alike(mine: ScreenNumbers, theirs: ScreenNumbers) -> float | None:
    """Compare what whole trajectories are paid; None if there are too few.

    What is won and lost again from step to step may dwarf, in single steps, what a return is made of.
    """
    if len(mine.in_sum) < FEWEST_SUMS:
        return None
    return likeness(mine.in_sum, theirs.in_sum)


def _least(score: float | None, sums: float | None) -> float | None:
    if score is None or sums is None:
        return score
    return min(score, sums)


def _same_features(mine: Doubles, theirs: Doubles) -> bool:
    """Tell whether every feature of the one has its like, up to scale and sign, in the other."""
    if len(mine) != len(theirs):
        return False
    left = list(range(len(theirs)))
    for row in mine:
        match = next((i for i in left if _same_feature(row, theirs[i])), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_feature(one: Doubles, other: Doubles) -> bool:
    score = likeness(one, other)
    return bool(np.allclose(one, other)) if score is None else abs(score) > ALIKE


def _same_weight(mine: Doubles, theirs: Doubles) -> bool:
    one, other = float(mine.std()), float(theirs.std())
    return max(one, other) <= SAME_WEIGHT * min(one, other)


def _without_shaping(mine: ScreenNumbers, theirs: ScreenNumbers) -> float | None:
    for one in (mine, theirs):
        if one.reward is None or one.canonical is None:
            return None
        if one.canonical.std() < LEFT * one.reward.std():
            return None
    assert mine.canonical is not None  # looked at above
    assert theirs.canonical is not None
    return likeness(mine.canonical, theirs.canonical)


def _learnt(history: History, other: Candidate) -> bool:
    """Tell whether a known candidate rose above the random policy, or is not trained yet."""
    fitness = search_fitness(other)
    if not other.runs:
        return True
    return (
        fitness is not None
        and history.preflight is not None
        and (fitness > history.preflight.random_fitness)
    )


# --- order ------------------------------------------------------------------------------------


def order(case: Case) -> Screen:
    """Compare the order of stored trajectories by what they would be paid with that by fitness.

    Fails if Kendall's τ is below 0.2 or fewer than 60 % of at least 20 informative pairs are in order,
    by the better of mean per step and discounted sum.  Abstains while no two sources of the store
    differ in fitness beyond the noise between episodes.
    """
    mine, trajectories = case.numbers, case.screening.trajectories
    if mine is None:
        return _abstain("order", case.broken)
    if case.candidate.program is None or not case.candidate.program.has_reward:
        return _abstain("order", NATIVE_REWARD)
    if not tells_apart([t.fitness for t in trajectories], [t.source for t in trajectories]):
        return _abstain("order", "No stored trajectories differ in fitness beyond noise yet.")
    found, by = best_order(mine.per_step, mine.in_sum, case.fitness)
    if found.pairs < FEWEST_PAIRS:
        return _abstain("order", f"Only {found.pairs} pairs of trajectories differ in fitness.")
    if found.tau >= LEAST_TAU and found.accuracy >= LEAST_ACCURACY:
        words = f"{percent(found.accuracy)} of {found.pairs} pairs are in order by {by}."
        return Screen("order", "pass", found.tau, words)
    return Screen("order", "fail", found.tau, _disorder_words(case, mine, found, by))


def _disorder_words(case: Case, mine: ScreenNumbers, found: Order, by: str) -> str:
    told = (
        f"Of stored episodes it does not pay the better ones more: {percent(found.accuracy)} of "
        f"{found.pairs} pairs are in the order of their fitness (Kendall's tau {number(found.tau)}, by "
        f"{by}; wanted are {percent(LEAST_ACCURACY)} and {number(LEAST_TAU)})."
    )
    if found.worst is None:
        return told + " Most episodes are paid the same: give it a signal that tells them apart."
    better, worse = found.worst
    paid = mine.in_sum if by == "discounted sum" else mine.per_step
    episodes = case.screening.trajectories
    return "\n".join(
        (
            f"{told} The worst pair: an episode of {_who(episodes[better])} with fitness "
            f"{number(episodes[better].fitness)} is paid {number(float(paid[better]))}, one of "
            f"{_who(episodes[worse])} with fitness {number(episodes[worse].fitness)} is paid "
            f"{number(float(paid[worse]))}. Pay for what the better one does.",
            *_table("better", mine.rows[0]),
            *_table("worse", mine.rows[1]),
        )
    )


def _who(trajectory: Trajectory) -> str:
    named = {"random": "the random policy", "native": "the native reward's policy"}
    return named.get(trajectory.source, f"candidate {trajectory.source}'s policy")


def _table(title: str, rows: Sequence[Json]) -> list[str]:
    if not rows:
        return []
    columns = list(rows[0])[:SHOWN_CELLS]
    lines = [" | ".join(_cell(row.get(column)) for column in columns) for row in rows]
    return [f"{title} episode: {' | '.join(columns)}", *lines]


def _cell(value: object) -> str:
    if isinstance(value, int | float):
        return number(float(value))
    if isinstance(value, list):
        return " ".join(_cell(one) for one in value[:4])
    return one_line(str(value), 40)


# --- exploit ----------------------------------------------------------------------------------


def exploit(case: Case) -> Screen:
    """Ask what a program pays for the episodes of known exploits.

    The mean pay of an exploit's episodes must not exceed the 40 % quantile of what honest episodes are
    paid.  Honest are those that did better than the exploit, if there are three of them: any reward
    that leads somewhere pays an exploit more than a policy that only stumbles.  While nobody has done
    better, all others count, and the program must also be kin to the exploit's own reward (correlation
    above 0.8), or every first step out of a hard task would be held against the next one.
    """
    mine, trajectories = case.numbers, case.screening.trajectories
    if mine is None:
        return _abstain("exploit", case.broken)
    if case.candidate.program is None or not case.candidate.program.has_reward:
        return _abstain("exploit", NATIVE_REWARD)
    bank = dict.fromkeys(t.source for t in trajectories if t.exploit)
    if not bank:
        return _abstain("exploit", "No exploit is known.")
    asked = [_against(case, mine, key) for key in bank]
    failed = [screen for screen in asked if screen.verdict == "fail"]
    passed = [screen for screen in asked if screen.verdict == "pass"]
    return (failed or passed or asked)[0]


def _against(case: Case, mine: ScreenNumbers, key: str) -> Screen:
    episodes = case.screening.trajectories
    hack = np.array([t.source == key for t in episodes])
    honest = np.array([not t.exploit for t in episodes])
    reached = float(case.fitness[hack].max())
    better = honest & (case.fitness > reached + 1e-9)
    proven = int(better.sum()) >= FEWEST_BETTER
    compared = better if proven else honest
    if not proven and int(honest.sum()) < FEWEST_HONEST:
        return _abstain("exploit", "There are too few honest episodes to compare with.")
    paid = float(mine.per_step[hack].mean())
    limit = float(np.quantile(mine.per_step[compared], HONEST))
    if paid <= limit:
        return Screen("exploit", "pass", paid - limit, "", key)
    theirs = case.screening.numbers.get(key)
    kin = _kin(mine, theirs)
    if not proven and (kin is None or kin < KIN):
        why = (
            f"It pays for what candidate {key} exploited, but by another reward; nobody did better."
        )
        return Screen("exploit", "abstain", None, why, key)
    return Screen("exploit", "fail", paid - limit, _exploit_words(key, paid, limit, proven), key)


def _kin(mine: ScreenNumbers, theirs: ScreenNumbers | None) -> float | None:
    if mine.reward is None or theirs is None or theirs.reward is None:
        return None
    return likeness(mine.reward, theirs.reward)


def _exploit_words(key: str, paid: float, limit: float, proven: bool) -> str:
    others = "episodes that really did better" if proven else "honest episodes"
    return (
        f"It pays for a known exploit: the episodes of candidate {key}, which was paid more and more "
        f"while the task was not done, are paid {number(paid)} per step, and {percent(1 - HONEST)} of "
        f"{others} should be paid more than that, but the {percent(HONEST)} quantile of theirs is "
        f"{number(limit)}. Do not pay for that motion in itself; pay for what it is meant to lead to."
    )


# --- scale ------------------------------------------------------------------------------------


def scale(case: Case) -> Screen:
    """Ask how large a discounted return the program would pay.

    PPO here divides rewards by the running standard deviation of their returns, so scale alone changes
    nothing while the sums fit float32: above 10³ the screen abstains with a note, above 10⁶ it fails.
    SAC, DQN and PPO without that division learn values of the size of the returns, with step sizes
    made for ordinary ones: there it fails above 10⁴.
    """
    mine = case.numbers
    if mine is None:
        return _abstain("scale", case.broken)
    if mine.reward is None:
        return _abstain("scale", NATIVE_REWARD)
    size = _largest_return(case, mine)
    if size <= LARGE:
        return Screen("scale", "pass", size)
    normalised = case.screening.normalised
    told = f"Discounted returns are as large as {number(size)}; usual are at most {number(LARGE)}."
    if size <= LARGEST[normalised]:
        note = "The learner divides rewards by their scale" if normalised else "It may learn slowly"
        return Screen("scale", "abstain", size, f"{told} {note}, so it is only noted.")
    return Screen(
        "scale", "fail", size, f"{told} Divide all numbers in PARAMS by {size / LARGE:.0g}."
    )


def _largest_return(case: Case, mine: ScreenNumbers) -> float:
    """Return the largest |discounted return| of stored trajectories; without them a guess."""
    if len(mine.in_sum):
        return float(np.abs(mine.in_sum).max())
    found = case.history.preflight
    steps = min((found.max_episode_steps if found else None) or 1_000, 100)
    assert mine.reward is not None  # its caller looked
    return float(np.abs(mine.reward).mean()) * steps


SCREENS: Mapping[str, Callable[[Case], Screen]] = {
    "duplicate": duplicate,
    "order": order,
    "exploit": exploit,
    "scale": scale,
}
"""Every screen by name; `JobSpec.screens` says which of them run."""
