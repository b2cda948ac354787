"""`smith`: the house method.

Where Eureka refines one parent K times, smith gives every slot of an iteration its own work: several
refinements of the most reliable candidate, each with another emphasis, one attempt at something
different, and one that only moves numbers, without the designer.  The designer sees what became of
everybody, failures included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.diagnoses import plateau
from core.feedback import fitness_words, why_not, write_feedback
from core.loop import search_fitness
from core.methods.breeding import (
    brief_for,
    by_lower_bound,
    closed,
    conversation,
    earlier,
)
from core.methods.contract import system_text
from core.methods.method import Method
from core.methods.prompting import (
    RULES_OF_THUMB,
    action_part,
    episode_part,
    fields_part,
    idea,
    known_fields,
    mode_part,
    program_part,
    repair_text,
    source_part,
    task_part,
)
from core.records import Brief, Candidate, Feedback, History, Operator, Prompt
from core.words import quoted, without_metric

SEED_LEANINGS = (
    "Lean towards the plainest reward that could work: two or three components, each with a "
    "clear purpose.",
    "Lean towards stages: a component for each stage that a learner passes, the early ones felt "
    "from the "
    "first step, the late ones worth more.",
    "Lean towards progress: potentials whose difference between next_obs and obs is paid, and a "
    "bonus for "
    "holding the goal.",
    "Lean towards the state: give the policy a few features that make the right action easy to "
    "see, and a "
    "reward that uses them.",
    "Lean towards steadiness: smooth, bounded terms, and small penalties that keep the motion "
    "calm and safe.",
    "Lean towards what goes wrong: ask how a learner fails here at first, and pay the way out of "
    "it.",
)
REFINE_LEANINGS = (
    "Mend what the diagnoses and the curves point at, most harmful first. Keep what works.",
    "Keep the idea, but change the form of the main component: its shape, its scale, or a "
    "potential "
    "difference in place of a value (or the reverse).",
    "Keep the reward much as it is and work on `features`: what would let the policy see sooner "
    "what to do?",
    "Simplify: drop or merge what hardly counts, until every component has a reason that can be "
    "measured.",
    "Work on the beginning of learning: make the signal that a nearly random policy gets "
    "stronger and denser.",
)
WORK: dict[Operator, str] = {
    "seed": "Write a first design for this task.",
    "refine": "Improve the best design so far. Its program and what was measured follow.",
    "different": "Write a design whose main mechanism differs from everything that was tried. "
    "What was tried "
    "follows, idea by idea; do not vary one of these, think of another way to lead the policy to "
    "the goal.",
    "cross": "Combine the two parent programs: take from each what the measurements show to be "
    "useful, and "
    "make it one coherent design. Both programs and what was measured follow.",
    "features": "Change only `features`; copy `reward`, PARAMS and BOUNDS unchanged from the "
    "parent, unless "
    "`reward` calls a feature that you replace. The program and what was measured follow.",
    "parameters": "Change only the numbers in PARAMS; copy everything else unchanged from the "
    "parent. The "
    "program and what was measured follow.",
}
MOST_IDEAS = 40


# --- what is asked ----------------------------------------------------------------------------


def briefs(history: History) -> tuple[Brief, ...]:
    """Give every slot of the open iteration its work."""
    past = closed(history)
    ranked = by_lower_bound(past)
    operators = _operators(past, ranked)
    return tuple(
        brief_for(history, slot, operator, _parents(operator, ranked))
        for slot, operator in enumerate(operators)
    )


def _parents(operator: Operator, ranked: Sequence[Candidate]) -> Sequence[Candidate]:
    return () if operator in ("seed", "different") else ranked[:1]


def _operators(past: History, ranked: Sequence[Candidate]) -> list[Operator]:
    """Return the operator of each slot.

    Nothing scored yet: seeds.  Nobody better than chance: one refinement, the rest different.
    Otherwise refinements, one different (two on a plateau), and one for the numbers.
    """
    count = past.spec.candidates
    if not ranked:
        return ["seed"] * count
    if _no_better_than_random(past):
        return _filled(count, different=max(1, count - 1), numbers=0)
    program = ranked[0].program
    numbers = 1 if count >= 3 and program is not None and program.params else 0
    if count == 1:
        # Alone in its iteration, a slot refines unless that has stopped to help.
        return ["different" if plateau(past) else "refine"]
    different = 2 if plateau(past) and count >= 4 else 1
    return _filled(count, different, numbers)


def _filled(count: int, different: int, numbers: int) -> list[Operator]:
    refine = count - different - numbers
    plan: list[tuple[Operator, int]] = [
        ("refine", refine),
        ("different", different),
        ("parameters", numbers),
    ]
    return [operator for operator, times in plan for _ in range(times)]


def _no_better_than_random(past: History) -> bool:
    floor = past.preflight.random_fitness if past.preflight else None
    scored = [f for c in earlier(past) if (f := search_fitness(c)) is not None]
    return floor is not None and bool(scored) and max(scored) <= floor


# --- how it is asked --------------------------------------------------------------------------


def render(brief: Brief) -> Prompt:
    """Write the messages: the standing part, one question, and a repair as a further turn."""
    question = "\n\n".join(_parts(brief))
    if brief.repair is None:
        return conversation(system_text(brief.task.array), question)
    mended = (brief.repair.reply or "(empty)", repair_text(brief.repair.message))
    return conversation(system_text(brief.task.array), question, *mended)


def _parts(brief: Brief) -> Iterator[str]:
    yield task_part(brief)
    yield fields_part(brief)
    if source := source_part(brief):
        yield source
    yield action_part(brief)
    yield episode_part(brief)
    yield mode_part(brief)
    yield RULES_OF_THUMB
    yield f"# Your work now\n\n{WORK[brief.operator]}{_leaning(brief)}"
    yield from _evidence(brief)
    yield (
        "Answer now in the form given at the start: a short analysis, the `Prediction:` line, one "
        "```python block."
    )


def _leaning(brief: Brief) -> str:
    leanings = {"seed": SEED_LEANINGS, "refine": REFINE_LEANINGS}.get(brief.operator)
    if leanings is None:
        return ""
    return f" {leanings[brief.slot % len(leanings)]}"


def _evidence(brief: Brief) -> Iterator[str]:
    if brief.operator == "different":
        # No program and no details: what is in sight is soon imitated.
        yield _ideas(brief)
        return
    for number, parent in enumerate(brief.parents):
        title = "The best program so far" if number == 0 else "The other parent"
        yield program_part(parent, f"{title}: candidate {parent.key}")
    if brief.feedback is not None:
        yield f"# What was measured\n\n{quoted('measurements', brief.feedback.text, 26_000)}"
    if brief.iteration > 1:
        yield _ideas(brief)


def _ideas(brief: Brief) -> str:
    """List the ideas of the whole job, best first; the designer is not to repeat the failures."""
    scored = [c for c in brief.history if c.operator != "parameters"]
    scored.sort(key=lambda c: (-_or_lowest(search_fitness(c)), c.iteration, c.number))
    lines = [f"{c.key} ({_fate(c)}): {idea(c)}{_entries(c)}" for c in scored[:MOST_IDEAS]]
    text = without_metric("\n".join(lines), known_fields(brief))
    return f"# What was tried in the whole job, best first\n\n{quoted('ideas', text, 8_000)}"


def _fate(candidate: Candidate) -> str:
    if search_fitness(candidate) is None:
        return f"no fitness: {why_not(candidate)}"
    return f"fitness {fitness_words(candidate)}"


def _or_lowest(fitness: float | None) -> float:
    return float("-inf") if fitness is None else fitness


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
    ranked = by_lower_bound(history)
    return write_feedback(history, iteration, ranked[0] if ranked else None)


SMITH = Method(
    name="smith",
    summary="In every iteration several refinements of the most reliable design, one different idea, "
    "and one tuning of its numbers.",
    source="The house method. It takes refine-best from Eureka (arXiv 2310.12931), the mix of "
    "operators from RF-Agent (NeurIPS 2025), the sight of all candidates from LESR (arXiv 2407.13237), "
    "and numbers tuned apart from code from R* (ICML 2025).",
    briefs=briefs,
    render=render,
    digest=digest,
    select=by_lower_bound,
)
