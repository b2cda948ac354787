"""`smith`: the house method.

Where Eureka refines one parent K times, smith gives every slot of an iteration its own work.  With nine
slots: two refine the most reliable candidate, each with another emphasis; two cross it with an elite
that is built otherwise; one changes the features alone, with the reward frozen; one looks for a main
mechanism that nobody tried; three only move numbers, without the designer.  Smaller iterations keep as
much of this as they can hold, in turn.  The designer sees what became of everybody, failures included,
and whether its own predictions came true.

When nobody is better than chance, either half may be what is missing: two refinements become
*different* and one changes the features alone, as long as one refinement is left.  Numbers are not
tuned then; there is no direction to tune along.

Elites are the ten best by lower confidence bound, at most three of one line of descent.

Numbers get one slot of four or five, two of six to eight, three of nine or more.  Each is a candidate
like any other: it counts in the budget, is trained in the first rung with the rest, and goes on if it
is good.  It costs no token; the tuner proposes eight points, and those are taken that pay stored
episodes most nearly in the order of their fitness.  More than three slots would crowd out ideas, and
points that are measured at the same time cannot teach the tuner about each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat

from core.choosing import search_fitness
from core.diagnoses import curve_sentences, plateau
from core.feedback import terms_words, why_not, write_feedback
from core.fitness_words import BEST_FIRST, fitness_words
from core.methods.breeding import (
    best_first,
    brief_for,
    by_lower_bound,
    closed,
    earlier,
    elites,
)
from core.methods.fitting import Part, Piece, Rank
from core.methods.method import Method
from core.methods.prompting import (
    CLOSING,
    conversation,
    idea,
    known_fields,
    measured_part,
    one_of_many,
    program_part,
    remarks_part,
    setting_parts,
    thumbs_part,
    unusable_part,
)
from core.program import current_source
from core.records.asking import Brief, Prompt
from core.records.history import History
from core.records.kinds import Operator
from core.records.rounds import Candidate, Feedback
from core.words import without_metric

SEED_LEANINGS = (
    "Lean towards the plainest reward that could work: two or three components, each with a clear "
    "purpose.",
    "Lean towards stages: a component for each stage that a learner passes, the early ones felt "
    "from the first step, the late ones worth more.",
    "Lean towards progress: potentials whose difference between next_obs and obs is paid, which "
    "changes how soon something is learnt, and a bonus for holding the goal, which says what.",
    "Lean towards steadiness: smooth, bounded terms, and small penalties that keep the motion "
    "calm and safe.",
    "Lean towards what goes wrong: ask how a learner fails here at first, and pay the way out of "
    "it.",
)
SEED_STATE_LEANING = (
    "Lean towards the state: give the policy a few features that make the right action easy to "
    "see, and a reward that uses them."
)
FEATURE_LEANINGS = (
    "Lean towards errors: how far each quantity that matters is from where it should be.",
    "Lean towards dynamics: energies, rates, and where the state will be in a moment.",
    "Lean towards relations: differences, products and ratios of entries that belong together.",
    "Lean towards geometry: sine and cosine of angles, positions in another frame.",
)
REFINE_LEANINGS = (
    "Mend what the diagnoses and the curves point at, most harmful first. Keep what works.",
    "Keep the idea, but change the form of the main component so that it orders states or steps "
    "otherwise: another quantity, a product in place of a sum, or a potential difference in place of "
    "a value (or the reverse). Another scale or a moved edge alone is no other form.",
    "Simplify: merge components that say the same and rebuild the main one from them, until every "
    "component has a reason that can be measured. To drop what hardly counts, and no more, leaves the "
    "pay as it was.",
    "Work on the beginning of learning: make the signal that a nearly random policy gets stronger "
    "and denser.",
)
# Wide where another idea is wanted, narrow where one is to be improved.
TEMPERATURES: dict[Operator, float] = {
    "seed": 0.9,
    "different": 0.9,
    "refine": 0.6,
    "cross": 0.6,
    "features": 0.6,
}
WORK: dict[Operator, str] = {
    "seed": "Write a design for this task.",
    "refine": "Improve the best design so far. Its program and what was measured follow.",
    "different": "Write a design whose main mechanism differs from everything that was tried. "
    "What was tried follows, idea by idea, and the best program with what limits it; do not vary "
    "one of these, think of another way to lead the policy to the goal.",
    "cross": "Combine the two parent programs: take from each what the measurements show to be "
    "useful, and make it one coherent design. Both programs and what was measured follow.",
    "features": "Write other `features` for this task. The program and what was measured follow.",
    "parameters": "Change only the numbers in PARAMS; copy everything else unchanged from the "
    "parent. The program and what was measured follow.",
}
FROZEN = (
    "Change only `features` of candidate {key}: what would let the policy see sooner what to do? "
    "Copy `reward`, all that it calls, PARAMS and BOUNDS unchanged; a module with another reward "
    "is refused, unless the reward reads a feature that you replace. The program and what was "
    "measured follow."
)
MOST_IDEAS = 40


# --- what is asked ----------------------------------------------------------------------------


def briefs(history: History) -> tuple[Brief, ...]:
    """Give every slot of the open iteration its work."""
    past = closed(history)
    best = elites(past)
    plan = operators(past, best)
    partners = iter(_partners(best, plan.count("cross")))
    return _numbered(
        [
            brief_for(history, slot, operator, _parents(operator, best, partners))
            for slot, operator in enumerate(plan)
        ]
    )


def _numbered(planned: Sequence[Brief]) -> tuple[Brief, ...]:
    """Number the answers to each question: the slots differ in work, parents or leaning."""
    asked = [(b.operator, tuple(p.key for p in b.parents), _leaning(b), b.variant) for b in planned]
    return tuple(
        replace(brief, answer=asked[:place].count(own) + 1, answers=asked.count(own))
        for place, (brief, own) in enumerate(zip(planned, asked, strict=True))
    )


def _parents(
    operator: Operator, best: Sequence[Candidate], partners: Iterator[Candidate]
) -> Sequence[Candidate]:
    if operator in ("seed", "different"):
        return ()
    return (best[0], next(partners)) if operator == "cross" else best[:1]


def _partners(best: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return the elites to cross the best with: those that share least with it first."""
    others = sorted(best[1:], key=lambda c: -_distance(best[0], c))
    return [others[i % len(others)] for i in range(count)] if others else []


def _distance(first: Candidate, second: Candidate) -> float:
    """Return the share of components and features that only one of two candidates has."""
    ours, theirs = _names(first), _names(second)
    both = ours | theirs
    return len(ours ^ theirs) / len(both) if both else 0.0


def _names(candidate: Candidate) -> set[str]:
    shape = candidate.shape
    return (
        set() if shape is None else {*shape.components, *(f"features.{f}" for f in shape.features)}
    )


def operators(past: History, best: Sequence[Candidate]) -> list[Operator]:
    """Return the operator of each slot, given the closed iterations and their elites.

    Nothing scored yet: seeds.  Otherwise the table of the iteration's size, as far as the parents
    allow.
    """
    count, number = past.spec.candidates, len(past.iterations)
    if not best:
        return ["seed"] * count
    # Alone in its iteration, a slot refines unless that has stopped to help.
    plan = _alone(past) if count == 1 else _table(count, number)
    if plateau(past) and plan.count("refine") > 1:
        plan[plan.index("refine")] = "different"
    if _no_better_than_random(past):
        plan = _adapted(plan)
    plan = [_possible(operator, past, best) for operator in plan]
    return sorted(plan, key=_ORDER.index)


_ORDER: list[Operator] = ["refine", "cross", "features", "different", "parameters"]


def _alone(past: History) -> list[Operator]:
    return ["different" if plateau(past) or _no_better_than_random(past) else "refine"]


def _table(count: int, number: int) -> list[Operator]:
    """Return the plan of an iteration with so many slots; small ones take turns."""
    odd = number % 2 == 1
    if count <= 3:
        return [*_refine(count - 1), "refine" if odd else "different"]
    if count <= 5:
        turns: tuple[Operator, ...] = ("cross", "different", "features")
        return [*_refine(count - 2), turns[(number - 1) % 3], "parameters"]
    if count <= 8:
        turn: Operator = "features" if odd else "different"
        return [*_refine(count - 4), "cross", turn, *_tuned(2)]
    return [*_refine(count - 7), "cross", "cross", "features", "different", *_tuned(3)]


def _refine(times: int) -> list[Operator]:
    return ["refine"] * times


def _tuned(times: int) -> list[Operator]:
    return ["parameters"] * times


def _adapted(plan: Sequence[Operator]) -> list[Operator]:
    """Turn all refinements but one into other ideas and other features; tune no numbers."""
    turned: Iterator[Operator] = chain(("different", "different", "features"), repeat("different"))
    last = max((n for n, operator in enumerate(plan) if operator == "refine"), default=-1)
    return [
        next(turned)
        if operator == "parameters" or (operator == "refine" and n != last)
        else operator
        for n, operator in enumerate(plan)
    ]


def _possible(operator: Operator, past: History, best: Sequence[Candidate]) -> Operator:
    """Return the operator, or what stands in for it where the parents or the job do not allow it."""
    program, design = best[0].program, past.spec.design
    if operator == "parameters" and not (program and program.has_reward and program.params):
        return "refine"
    if operator == "cross" and len(best) < 2:
        return "refine"
    if operator == "features" and (design != "joint" or not (program and program.has_reward)):
        return "different" if design == "reward" else "refine"
    return operator


def _no_better_than_random(past: History) -> bool:
    floor = past.preflight.random_fitness if past.preflight else None
    scored = [f for c in earlier(past) if (f := search_fitness(c)) is not None]
    return floor is not None and bool(scored) and max(scored) <= floor


# --- how it is asked --------------------------------------------------------------------------


def render(brief: Brief) -> Prompt:
    """Write the messages: the standing part, one question, and a repair as a further turn."""
    work = f"# Your work now\n\n{_work(brief)}{_leaning(brief)}"
    question = [*setting_parts(brief), thumbs_part(brief), work, *_evidence(brief)]
    return conversation(brief, [*question, remarks_part(brief), one_of_many(brief), CLOSING])


def _work(brief: Brief) -> str:
    if brief.operator == "features" and brief.parents:
        return FROZEN.format(key=brief.parents[0].key)
    return WORK[brief.operator]


def _leaning(brief: Brief) -> str:
    """Return where the slot leans; only first designs and refinements do."""
    if brief.design == "features" and brief.operator in ("seed", "refine"):
        return _leaning_of(brief, FEATURE_LEANINGS)
    if brief.operator == "refine":
        return _leaning_of(brief, REFINE_LEANINGS)
    if brief.operator != "seed":
        return ""
    if brief.design == "reward":
        return _leaning_of(brief, SEED_LEANINGS)
    return _leaning_of(brief, (*SEED_LEANINGS[:3], SEED_STATE_LEANING, *SEED_LEANINGS[3:]))


def _leaning_of(brief: Brief, leanings: Sequence[str]) -> str:
    return f" {leanings[brief.slot % len(leanings)]}"


def _evidence(brief: Brief) -> Iterator[Piece]:
    if brief.operator == "different":
        yield _ideas(brief)
        yield from _best_so_far(brief)
        return
    for number, parent in enumerate(brief.parents):
        title = "The best program so far" if number == 0 else "The other parent"
        yield program_part(parent, f"{title}: candidate {parent.key}")
        if number > 0 and parent.report is not None:
            how = (brief.design, brief.smoothness, brief.task.fitness)
            terms = terms_words(parent.report, *how)
            fitness = f"fitness {fitness_words(parent, brief.training)}"
            text = "\n\n".join((fitness, *filter(None, terms)))
            yield measured_part(text, f"# What was measured of candidate {parent.key}")
    if not brief.parents:
        yield unusable_part(brief)
        return
    if brief.feedback is not None:
        yield measured_part(brief.feedback.text)
    if brief.iteration > 1:
        yield _ideas(brief)


def _best_so_far(brief: Brief) -> Iterator[Piece]:
    """Show the best program as what to stay away from, and what is known of why it stops."""
    best = next(iter(best_first(brief.history)), None)
    if best is None or best.program is None or search_fitness(best) is None:
        return
    title = f"# The best so far, to stay away from: candidate {best.key}"
    source = current_source(best.program)
    yield Part(source, Rank.OTHERS, title, f"program {best.key}", 40_000)
    floor = brief.preflight.random_fitness if brief.preflight else None
    known = brief.feedback if brief.feedback and brief.feedback.best == best.key else None
    seen = known.diagnoses if known else ()
    rising = any(words.startswith("STILL_RISING") for words in seen)  # which says the same
    reasons = [*(() if rising else curve_sentences(best, floor)), *seen]
    text = without_metric("\n".join(f"- {reason}" for reason in reasons), known_fields(brief))
    yield Part(text, Rank.OTHERS, "What limits it, as far as was measured:", "reasons", 4_000)


def _ideas(brief: Brief) -> Piece:
    """List the ideas of the whole job, best first; the designer is not to repeat the failures."""
    ranked = best_first(brief.history)
    best = next(iter(ranked), None)
    told = [c for c in ranked if c.operator != "parameters" or c is best][:MOST_IDEAS]
    lines = [f"{c.key} ({_fate(brief, c, best)}): {idea(c)}{_entries(c)}" for c in told]
    text = without_metric("\n".join(lines), known_fields(brief))
    title = f"# What was tried in the whole job\n\n{BEST_FIRST}"
    return Part(text, Rank.EARLIER, title, "ideas", 8_000, least=300)


def _fate(brief: Brief, candidate: Candidate, best: Candidate | None) -> str:
    if search_fitness(candidate) is None:
        return f"no fitness: {why_not(candidate)}"
    return f"fitness {fitness_words(candidate, brief.training, best)}"


def _entries(candidate: Candidate) -> str:
    shape = candidate.shape
    if shape is None:
        return ""
    components = ", ".join(shape.components) or "none"
    features = ", ".join(shape.features) or "none"
    return f" [components {components}; features {features}]"


# --- what is learnt ---------------------------------------------------------------------------


def digest(history: History, iteration: int) -> Feedback:
    """Put an iteration into words, with the most reliable candidate in detail."""
    best = elites(history, most=1)
    return write_feedback(history, iteration, best[0] if best else None)


SMITH = Method(
    name="smith",
    summary="Every slot its own work: refinements of the most reliable design, crosses, features, "
    "another idea, and its numbers tuned.",
    source="The house method. It takes refine-best from Eureka (arXiv 2310.12931), the mix of "
    "operators from RF-Agent (NeurIPS 2025), the sight of all candidates from LESR (arXiv "
    "2407.13237), numbers tuned apart from code from R* (ICML 2025), and the change of one half "
    "alone from LIMEN (arXiv 2605.03408).",
    briefs=briefs,
    render=render,
    digest=digest,
    select=by_lower_bound,
    temperatures=TEMPERATURES,
)
