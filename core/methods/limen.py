"""`limen`: reward and state representation evolved together, with an archive that keeps variety.

Source: Jaswal, Baghel and Chopra 2026, "Discovering Reinforcement Learning Interfaces with Large
Language Models" (RLC 2026, arXiv 2605.03408).  One candidate an iteration, thirty iterations.  An
archive keeps the best candidate of each cell of structure (size of the reward's syntax tree) by
dimension (number of inputs), five by five.  The prompt shows a parent of the archive with rule
sentences on its training, the three best, two of other cells, two failures, and one lens through
which to improve.  A cascade trains for half of the steps first, and goes on only with what gets
somewhere.

Where we deviate, and why:
- Features are added to the observation; the paper's programs replace it, from raw simulator state.
- The first rung asks for a fitness above the random policy's, in any unit; the paper asks for a success
  rate of 0.01 to 0.05.
- One archive without islands: the paper migrates between three every 20 iterations, of 30.
- Components are named and summed by the service; the paper's reward is one number.
- Crash filter and repairs are those of the service.
- A candidate that the cascade stopped counts with what it reached.
- Where only one of the two is designed (`design`), this is the paper's ablation of that name.
Not confirmed: the edges of the cells, how a parent is drawn (here: half of the time the best, else
evenly from the archive), and the brackets of the lenses.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from core.choosing import search_fitness
from core.diagnoses import curve_sentences
from core.feedback import why_not, write_feedback
from core.fitness_words import fitness_words
from core.methods.breeding import (
    brief_for,
    by_lower_bound,
    earlier,
    fitness_or_lowest,
    scored_first,
    slot_seed,
)
from core.methods.fitting import Part, Piece, Rank
from core.methods.method import Method
from core.methods.prompting import (
    CLOSING,
    conversation,
    known_fields,
    measured_part,
    one_of_many,
    program_part,
    remarks_part,
    setting_parts,
    unusable_part,
)
from core.program import current_source
from core.records.asking import Brief, Prompt
from core.records.history import History
from core.records.kinds import Operator
from core.records.programs import Program
from core.records.rounds import Candidate, Feedback
from core.syntax import syntax_tree
from core.words import number, without_metric

SIZES = (60, 120, 200, 320)  # nodes of the reward's syntax tree at which a cell begins
FEATURES = (1, 3, 6, 11)  # features at which a cell begins
TOP, DIVERSE, FAILURES = 3, 2, 2
MOST_LINES = 15  # of a failure's message, from its end

Cell: TypeAlias = tuple[int, int]

PHILOSOPHY = {
    "joint": """\
# What a good interface does

- You design both halves of what a learner gets: what it sees and what it is paid for. Either may be
  what holds it back: a policy cannot act on what it cannot see, and cannot learn what is never
  paid.
- Help a small network learn: give it all that it needs, in a form that is easy to use and of a moderate
  size; relations and differences rather than raw numbers.
- Make the reward dense where the task is silent, and aligned with the task where it speaks.
- Write for every start that an episode may have. Never build in numbers that hold for one start
  only.""",
    "reward": """\
# What a good reward does

- It helps a small network learn: dense where the task is silent, aligned with the task where it speaks.
- It holds for every start that an episode may have. Never build in numbers that hold for one start
  only.""",
    "features": """\
# What a good representation does

- It helps a small network learn: it gives all that the action depends on, in a form that is easy to use
  and of a moderate size; relations and differences rather than raw numbers.
- It holds for every start that an episode may have. Never build in numbers that hold for one start
  only.""",
}
LENSES = {
    "observation": "Improve what the policy sees: which relation does it need and not get? Add or "
    "rewrite features, and leave the reward alone unless it must change.",
    "reward": "Improve what is paid: where does the policy get no signal, or the wrong one? "
    "Rewrite components, and leave the features alone.",
    "restructure": "Start over in structure: another decomposition of the task. Keep nothing only "
    "because it is there.",
    "simplify": "Simplify: drop what does not carry the result, merge what says the same, and "
    "keep the performance.",
    "robustness": "Make it robust: starts and states that are rare, scales that saturate, ways of "
    "being paid without doing the task.",
}
BRACKETS: dict[str, tuple[str, ...]] = {
    "none": ("observation", "reward", "restructure"),
    "some": ("reward", "observation", "restructure", "robustness"),
    "good": ("simplify", "robustness", "observation"),
}


# --- the archive ------------------------------------------------------------------------------


def archive(candidates: Sequence[Candidate]) -> dict[Cell, Candidate]:
    """Return the best candidate of each cell; ties go to the earlier one."""
    cells: dict[Cell, Candidate] = {}
    for candidate in scored_first(candidates):
        if candidate.program is not None and search_fitness(candidate) is not None:
            cells.setdefault(cell(candidate), candidate)
    return cells


def cell(candidate: Candidate) -> Cell:
    """Return where a candidate belongs: structure by dimension, each 0 to 4."""
    features = len(candidate.shape.features) if candidate.shape is not None else 0
    size = 0 if candidate.program is None else reward_size(candidate.program)
    return bisect_right(SIZES, size), bisect_right(FEATURES, features)


def reward_size(program: Program) -> int:
    """Count the syntax nodes of the reward and its helpers; names, layout and comments do not count."""
    functions = [
        node
        for node in syntax_tree(program.source).body
        if isinstance(node, ast.FunctionDef) and node.name != "features"
    ]
    return sum(1 for function in functions for _ in ast.walk(function))


# --- what is asked ----------------------------------------------------------------------------


def briefs(history: History) -> tuple[Brief, ...]:
    """Ask for a first design; then give every slot a parent from the archive."""
    cells = archive(earlier(history))
    count = history.spec.candidates
    if not cells:
        return tuple(brief_for(history, n, "seed") for n in range(count))
    operator: Operator = "refine"
    return tuple(
        brief_for(history, n, operator, [_parent(history, n, cells)]) for n in range(count)
    )


def _parent(history: History, slot: int, cells: dict[Cell, Candidate]) -> Candidate:
    best = scored_first(list(cells.values()))[0]
    draw = slot_seed(history.spec.seed, len(earlier(history)), slot)
    if draw % 2:
        return best
    return cells[sorted(cells)[(draw // 2) % len(cells)]]


# --- how it is asked --------------------------------------------------------------------------


def render(brief: Brief) -> Prompt:
    """Write one question: the parent, how it trained, who else there is, and the lens."""
    first = [*setting_parts(brief), Part(PHILOSOPHY[brief.design], Rank.ADVICE)]
    if not brief.parents:
        what = {"joint": "`features` and `reward`", "reward": "`reward`", "features": "`features`"}
        work = f"# Your work\n\nWrite {what[brief.design]} for this task."
        told = [unusable_part(brief), remarks_part(brief), work, one_of_many(brief), CLOSING]
        return conversation(brief, [*first, *told])
    parent = brief.parents[0]
    evidence = [
        program_part(parent, f"The parent: candidate {parent.key}"),
        _training(brief, parent),
        *_others(brief, parent),
        *_failures(brief),
        remarks_part(brief),
    ]
    work = f"# Your work\n\nWrite a child of the parent that does better. {LENSES[lens(brief)]}"
    return conversation(brief, [*first, *evidence, work, one_of_many(brief), CLOSING])


def lens(brief: Brief) -> str:
    """Choose the lens by how well the parent does; which of its bracket is the slot's chance."""
    idle = {"reward": "observation", "features": "reward"}.get(brief.design)
    lenses = [name for name in BRACKETS[_bracket(brief)] if name != idle]
    return lenses[brief.seed % len(lenses)]


def _bracket(brief: Brief) -> str:
    fitness = fitness_or_lowest(brief.parents[0])
    floor = brief.preflight.random_fitness if brief.preflight else float("-inf")
    if fitness <= floor:
        return "none"
    return "good" if brief.baseline is not None and fitness >= brief.baseline else "some"


def _training(brief: Brief, parent: Candidate) -> Piece:
    floor = brief.preflight.random_fitness if brief.preflight else None
    lines = [
        f"fitness {fitness_words(parent, brief.training)}; random policy {number(floor)}, "
        f"native reward {number(brief.baseline)}",
        *curve_sentences(parent, floor),
        *_terms(parent),
    ]
    text = without_metric("\n".join(lines), known_fields(brief))
    return measured_part(text, f"# How candidate {parent.key} trained")


def _terms(candidate: Candidate) -> Iterator[str]:
    if candidate.report is None:
        return
    for name, s in candidate.report.components.items():
        yield f"component `{name}`: mean {number(s.mean)} per step, std {number(s.std)}"
    for name, s in candidate.report.features.items():
        yield f"feature `{name}`: mean {number(s.mean)}, std {number(s.std)}"


def _others(brief: Brief, parent: Candidate) -> Iterator[Piece]:
    """Show the best, then elites of other cells; the last of them gives way first."""
    scored = [c for c in scored_first(brief.history) if search_fitness(c) is not None]
    top = [c for c in scored if c.key != parent.key and c.program is not None][:TOP]
    known = {parent.key, *(c.key for c in top)}
    elites = scored_first(list(archive(brief.history).values()))
    diverse = [c for c in elites if c.key not in known and cell(c) != cell(parent)][:DIVERSE]
    for order, candidate in enumerate([*top, *diverse]):
        kind = "one of the best" if candidate in top else "one that is built otherwise"
        yield _shown(brief, candidate, kind, order)


def _shown(brief: Brief, candidate: Candidate, kind: str, order: int) -> Piece:
    assert candidate.program is not None  # only those with a program are shown
    told = f"fitness {fitness_words(candidate, brief.training)}"
    body = f"{told}\n\n{current_source(candidate.program).rstrip()}"
    text = without_metric(body, known_fields(brief))
    title = f"# Candidate {candidate.key}, {kind}"
    return Part(text, Rank.OTHERS, title, f"candidate {candidate.key}", 6_000, order=order)


def _failures(brief: Brief) -> Iterator[Piece]:
    failed = [c for c in brief.history if search_fitness(c) is None]
    for candidate in failed[-FAILURES:]:
        lines = (candidate.rejection or why_not(candidate)).splitlines()[-MOST_LINES:]
        text = without_metric("\n".join(lines), known_fields(brief))
        title = f"# Candidate {candidate.key} failed"
        yield Part(text, Rank.OTHERS, title, "failure", 2_000, order=TOP + DIVERSE)


# --- what is learnt ---------------------------------------------------------------------------


def digest(history: History, iteration: int) -> Feedback:
    """Put an iteration into words for people; the prompt is written from the candidates themselves."""
    ranked = by_lower_bound(history)
    return write_feedback(history, iteration, ranked[0] if ranked else None)


LIMEN = Method(
    name="limen",
    summary="Reward and features evolved together, with an archive that keeps variety.",
    source="Jaswal et al. 2026, RLC, arXiv 2605.03408",
    briefs=briefs,
    render=render,
    digest=digest,
    select=by_lower_bound,
    defaults={
        "candidates": 1,
        "iterations": 30,
        "mode": "replace",
        "design": "joint",
        "training": {"rungs": (0.5, 1.0), "threshold": 0.0},
    },
)
