"""Rules that recognise what often goes wrong with a designed reward, as sentences.

Each rule looks at measured facts only and says what was seen, in numbers, and what to think of.  The
first word of a diagnosis is its name.  Source: the flags of reward-design systems from Eureka on
(arXiv 2310.12931), and the failure modes of shaping (Ng, Harada and Russell 1999).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from statistics import median

from core.choosing import native_fitness, search_fitness
from core.exploits import exploit_reason
from core.exploits import fitness_curve as fitness_curve
from core.fitness_words import seed_error, seed_fitness
from core.records.history import History
from core.records.kinds import Smoothness
from core.records.measured import Report, TermStatistics
from core.records.rounds import Candidate
from core.statistics import standard_error, told_by
from core.words import number, percent, signed

FLAT = 0.05  # std below this share of |mean|
DOMINANT = 0.9  # the rule of thumb in prompts says the same
IDLE = 0.99
SATURATED = 0.9
AGAINST = -0.3
FOLLOWS = 0.3
LEVEL = 0.25  # |mean| below this share of the std, on both sides of 0: a difference, to and fro
ERRORS = 2.0
GAIN = 0.02  # of the distance to the random policy's fitness
RISING = 0.05  # of the way from the random policy
ROUGH = 5.0  # standard deviations of the fitness signal per standard deviation of a feature
ROUGHER = 2.0  # times what is usual of the observation's own dimensions
DUPLICATE = 0.98
UNUSED = 0.01
UNUSED_OF_MANY = 0.25  # of an equal share, where inputs are so many that each is used little

_WELL = re.compile(r"\b(reach|goal|succe|arriv|solv|rest\b|landed|target)", re.I)
_ILL = re.compile(
    r"\b(fell|fall|fail|crash|left|leav|unhealthy|flip|lost|tip|drop|broke|colli|miss|limit|exceed)",
    re.I,
)


def diagnose(history: History, candidate: Candidate | None) -> tuple[str, ...]:
    """Return what the rules see in a candidate and in the job so far."""
    found: list[str] = []
    if candidate is not None:
        found += _of_exploit(history, candidate)
        found += _of_fitness(history, candidate)
        found += _of_report(history, candidate)
    found += _of_iterations(history)
    return tuple(found)


def component_flags(statistics: TermStatistics, episodes: int = 0) -> tuple[str, ...]:
    """Return the names of the rules that a component breaks.

    Args:
        statistics: of the component.
        episodes:   of how many they are; 0 if that is not known.

    >>> component_flags(TermStatistics(mean=1.0, std=0.01, low=0.9, high=1.0, share=0.95))
    ('FLAT', 'DOMINANT')
    """
    s = statistics
    if s.zero > IDLE:
        # A penalty that is never needed is a success.
        return () if s.low < 0.0 >= s.high else ("NEVER_ACTIVE",)
    flat = s.std < FLAT * abs(s.mean)
    follows = told_by(s.correlation, episodes) or 0.0
    rules = {
        "FLAT": flat,
        # One component is to carry most; harm is done where it leads elsewhere.
        "DOMINANT": s.share > DOMINANT and follows < FOLLOWS,
        "SATURATED": _stuck(s) and not flat,
        "ANTI_CORRELATED": follows < AGAINST and not to_and_fro(s),
    }
    return tuple(name for name, holds in rules.items() if holds)


def at_rest(statistics: TermStatistics) -> float:
    """Return the share of steps in which a one-sided component pays nothing; 0 for others."""
    return statistics.zero if 0.0 in (statistics.low, statistics.high) else 0.0


def is_switch(statistics: TermStatistics) -> bool:
    """Tell whether a component has two values and nothing between them."""
    return statistics.saturated >= 1.0


def _stuck(s: TermStatistics) -> bool:
    """Tell whether a component sits at an extreme in most of the steps in which it pays at all."""
    rest = at_rest(s)
    return not is_switch(s) and s.saturated - rest > SATURATED * (1.0 - rest)


def to_and_fro(s: TermStatistics) -> bool:
    """Tell a difference by its values, which are won and lost again.

    The sum over an episode telescopes: it is large where the episode began badly, which is no fault.
    """
    return s.low < 0.0 < s.high and abs(s.mean) < LEVEL * s.std


# --- components and features ------------------------------------------------------------------


def feature_flags(
    statistics: TermStatistics, report: Report, smoothness: Smoothness = "windowed"
) -> tuple[str, ...]:
    """Return the names of the rules that a feature breaks.

    Args:
        statistics: of the feature.
        report:     in which it stands beside other features and the observation's dimensions.
        smoothness: by which statistic the job judges; only the windowed one calls a feature rough.

    >>> feature_flags(TermStatistics(0.0, 1.0, -1.0, 1.0, redundant=0.99, used=0.2), Report())
    ('DUP_FEATURE',)
    """
    s = statistics
    if s.std <= FLAT * 1e-2 * max(abs(s.mean), 1e-6):
        return ("CONST_FEATURE",)
    usual = _usual_smoothness(report) or 0.0
    unused = min(UNUSED, UNUSED_OF_MANY / max(1, len(report.inputs) + len(report.features)))
    rough = smoothness == "windowed" and s.smooth is not None
    rules = {
        "ROUGH_FEATURE": rough and (s.smooth or 0.0) > max(ROUGH, ROUGHER * usual),
        "DUP_FEATURE": s.redundant is not None and s.redundant > DUPLICATE,
        "UNUSED_FEATURE": s.used is not None and s.used < unused,
    }
    return tuple(name for name, holds in rules.items() if holds)


def _usual_smoothness(report: Report) -> float | None:
    """Return the median smoothness of the observation's own dimensions, if it is known."""
    known = [s.smooth for s in report.inputs.values() if s.smooth is not None]
    return median(known) if known else None


def _of_features(report: Report, smoothness: Smoothness) -> Iterator[str]:
    for name, s in report.features.items():
        flags = feature_flags(s, report, smoothness)
        if {"DUP_FEATURE", "UNUSED_FEATURE"} <= set(flags):
            yield (
                f"DUP_FEATURE: feature `{name}` repeats another input (|correlation| "
                f"{number(s.redundant)}) and has a share of {percent(s.used or 0.0)} in what moves "
                "the policy. Drop it."
            )
            continue
        for flag in flags:
            yield f"{flag}: {_feature_words(flag, name, s, report)}"


def _feature_words(flag: str, name: str, s: TermStatistics, report: Report) -> str:
    usual = _usual_smoothness(report)
    against = "" if usual is None else f", against {number(usual)} usual of the observation"
    words = {
        "CONST_FEATURE": f"feature `{name}` stays at {number(s.mean)}; it tells the policy "
        "nothing. Replace or drop it.",
        "ROUGH_FEATURE": f"the fitness signal jumps along feature `{name}` (smoothness "
        f"{number(s.smooth)}{against}). A form in which near values mean near outcomes is easier to "
        "learn from: sine and cosine for angles, no jumps, no quotients near 0.",
        "DUP_FEATURE": f"feature `{name}` repeats another input (|correlation| "
        f"{number(s.redundant)}) and tells nothing new. Let it say what the observation does not.",
        "UNUSED_FEATURE": f"feature `{name}` has a share of {percent(s.used or 0.0)} in what moves "
        "the policy. The policy does without it: replace or drop it.",
    }
    return words[flag]


def _of_report(history: History, candidate: Candidate) -> Iterator[str]:
    report = candidate.report
    if report is None:
        return
    for name, statistics in report.components.items():
        for flag in component_flags(statistics, report.recorded):
            if flag != "DOMINANT" or len(report.components) > 1:
                yield f"{flag}: {_component_words(flag, name, statistics)}"
    yield from _of_features(report, history.spec.smoothness)
    yield from _of_survival(history, report)
    yield from _of_direction(candidate, report)


def _component_words(flag: str, name: str, s: TermStatistics) -> str:
    words = {
        "FLAT": f"`{name}` is almost constant (mean {number(s.mean)}, std {number(s.std)}). It "
        "only pays "
        "for every step lived; if it was meant to lead somewhere, its scale is wrong.",
        "DOMINANT": f"`{name}` makes up {percent(s.share)} of all that is paid; the other "
        "components "
        "hardly count. Rescale it, unless it alone is what is wanted.",
        "NEVER_ACTIVE": f"`{name}` is zero in {percent(s.zero)} of the steps. "
        + (
            "If it is a penalty, nothing called for it, and that is well; if it is a bonus, the "
            "policy never gets near it: widen it, add a step towards it, or drop it."
            if s.low == s.high == 0.0
            else "The policy hardly ever gets near it: widen it, add a step towards it, or drop it."
        ),
        "SATURATED": f"`{name}` sits at its smallest or largest value in {percent(s.saturated)} "
        "of the steps, so it gives no direction there. Choose a wider scale.",
        "ANTI_CORRELATED": f"episodes with more `{name}` have less fitness (rank correlation "
        f"{number(s.correlation)}). For a penalty that good episodes must pay this is natural; "
        "otherwise it "
        "pulls the wrong way.",
    }
    return words[flag]


def _of_survival(history: History, report: Report) -> Iterator[str]:
    """Accuse a step that costs only where the episode's end may be a failure.

    In mode "add" the environment's own pay comes on top, which no report knows.
    """
    if not report.components or history.spec.mode == "add":
        return
    total, doubt = sum(s.mean for s in report.components.values()), _doubt(history)
    if total >= 0.0 or report.terminated <= 0.05 or doubt is None:
        return
    fact = (
        f"an average step pays {number(total)} in sum, and {percent(report.terminated)} of the "
        "episodes "
        f"end early, after {number(report.episode_length)} steps on average"
    )
    advice = f"Lift the sum of an ordinary step above 0, for instance with a bonus per step.{doubt}"
    if report.terminated > 0.5:
        yield f"EARLY_TERMINATION_PAYS: {fact}: ending early stops the loss. {advice}"
    else:
        yield f"SURVIVAL_PENALISED: {fact}: living costs. {advice}"


def _doubt(history: History) -> str | None:
    """Return what is said where an early end may be a success too; None where it is nothing else.

    What an end means, the meaning of the field says that tells of it, as far as anybody does.  A share
    of the steps is lost by every step that is not lived, whatever the environment's own task is.
    """
    fitness = history.spec.task.fitness
    if "share" in (fitness.kind, *(part.kind for part in fitness.parts)):
        return ""
    found = history.preflight
    fields = found.fields if found else history.spec.task.fields
    meaning = next((f.meaning for f in fields if f.source == "terminated"), "")
    well, ill = _WELL.search(meaning), _ILL.search(meaning)
    if ill and not well:
        return ""
    if well and not ill:
        return None
    return " Where these ends are successes it is as it should be: who arrives sooner pays less."


def _of_direction(candidate: Candidate, report: Report) -> Iterator[str]:
    paid = [
        sum(step)
        for step in zip(*(s.by_checkpoint for s in report.components.values()), strict=False)
    ]
    # Pay is not known of rungs whose episodes could not be examined: both are held over one span.
    fitness = [value for _, value in fitness_curve(candidate)][-len(paid) :]
    if len(paid) < 2 or len(fitness) < 2:
        return
    spread = max(fitness) - min(fitness)
    lost = fitness[0] - fitness[-1]
    if paid[-1] > paid[0] and lost > 0 and lost > 0.25 * max(spread, abs(fitness[0]) * GAIN):
        yield (
            f"REWARD_UP_FITNESS_DOWN: the designed reward per step rose from {number(paid[0])} to "
            f"{number(paid[-1])} while the fitness fell from {number(fitness[0])} to "
            f"{number(fitness[-1])}. The "
            "policy has found a way to be paid that is not the task: find it in the episodes and "
            "close it."
        )


def _of_exploit(history: History, candidate: Candidate) -> Iterator[str]:
    if (reason := exploit_reason(history, candidate)) is not None:
        yield (
            f"EXPLOIT: {reason}. The policy is paid for something that is not the task. Find it in the "
            "episodes and stop paying for it; a program that pays for these episodes again is not "
            "trained."
        )


# --- fitness ----------------------------------------------------------------------------------


def _of_fitness(history: History, candidate: Candidate) -> Iterator[str]:
    fitness = search_fitness(candidate)
    floor = history.preflight.random_fitness if history.preflight else None
    if fitness is not None and floor is not None and fitness <= floor:
        yield (
            f"NOT_ABOVE_RANDOM: a fitness of {number(fitness)} is no better than the random "
            "policy's "
            f"{number(floor)}. The reward gives no usable direction from where learning begins; "
            "a different "
            "main idea is better than new numbers."
        )
    yield from _of_curve(history, candidate, floor)
    yield from _of_seeds(candidate, floor)


def still_rising(candidate: Candidate, floor: float | None, error: float | None = None) -> bool:
    """Tell whether the fitness rose at the end by more than its errors and a share of its whole way.

    The way is that from the random policy or from the lowest point of the curve, if that is lower.  The
    standard error of a point is that of the candidate's own seeds if none is given.
    """
    values = [value for _, value in fitness_curve(candidate)]
    if len(values) < 2 or values[-1] < max(values):
        return False
    way = values[-1] - min(*values, *([] if floor is None else [floor]))
    seeds = seed_fitness(candidate)
    if error is None:
        error = standard_error(seeds) if seeds else 0.0
    return values[-1] - values[-2] > max(RISING * way, ERRORS * error)


def curve_sentences(candidate: Candidate, floor: float | None) -> Iterator[str]:
    """Say in sentences what a curve shows: never above chance, declining, still improving, plateau."""
    values = [value for _, value in fitness_curve(candidate)]
    if floor is not None and values and max(values) <= floor:
        yield "The policy was never better than a random one, at any time of its training."
        return
    if len(values) < 2:
        return
    peak, last, before = max(values), values[-1], values[-2]
    reach = max(abs(peak - (floor or 0.0)), 1e-9)
    if peak - last > 0.2 * reach:
        yield (
            f"The fitness declined from {number(peak)} to {number(last)}: the policy learnt something "
            "that is paid and is not the task."
        )
    elif still_rising(candidate, floor):
        yield (
            f"The fitness was still improving at the end ({number(before)}, then {number(last)}): a "
            "stronger signal early would get further in the same time."
        )
    else:
        yield (
            f"The fitness reached a plateau at {number(last)}: more of the same will not lift it."
        )


def _of_curve(history: History, candidate: Candidate, floor: float | None) -> Iterator[str]:
    values = [value for _, value in fitness_curve(candidate)]
    if len(values) > 2 and still_rising(candidate, floor, seed_error(history, candidate)):
        yield (
            f"STILL_RISING: the fitness was still rising when the budget ended "
            f"({number(values[-2])}, then "
            f"{number(values[-1])}). The aim is right; make the early signal stronger so that it "
            "gets there "
            "sooner."
        )


def _of_seeds(candidate: Candidate, floor: float | None) -> Iterator[str]:
    values = seed_fitness(candidate)
    if len(values) < 2 or floor is None:
        return
    low, high = min(values), max(values)
    if high - low > 0.5 * abs(high - floor) > 0:
        yield (
            f"UNEVEN_SEEDS: the same program gave {number(low)} with one seed and {number(high)} "
            "with "
            "another. Learning hangs on luck: help the unlucky start with a denser signal."
        )


# --- the job ----------------------------------------------------------------------------------


def best_by_iteration(history: History) -> Mapping[int, float]:
    """Return the best fitness of each iteration that scored anything."""
    best: dict[int, float] = {}
    for iteration in history.iterations:
        values = [f for c in iteration.candidates if (f := search_fitness(c)) is not None]
        if values:
            best[iteration.number] = max(values)
    return best


def plateau(history: History) -> bool:
    """Tell whether the last two iterations gained next to nothing on what was known before them."""
    best = list(best_by_iteration(history).values())
    if len(best) < 3:
        return False
    before, after = max(best[:-2]), max(best[-2:])
    floor = history.preflight.random_fitness if history.preflight else 0.0
    return after - before < GAIN * max(abs(before - floor), 1e-9)


def _of_iterations(history: History) -> Iterator[str]:
    best = list(best_by_iteration(history).values())
    if plateau(history):
        yield (
            f"PLATEAU: two iterations gained {signed(max(best[-2:]) - max(best[:-2]))} on the "
            "fitness of "
            f"{number(max(best[:-2]))}. More of the same will not help; change what is paid, or "
            "what the "
            "policy sees."
        )
    native = native_fitness(history)
    if best and native is not None and max(best) < native:
        yield (
            f"BELOW_NATIVE: the best fitness so far, {number(max(best))}, is below the "
            f"{number(native)} that "
            "the environment's own reward reaches."
        )
