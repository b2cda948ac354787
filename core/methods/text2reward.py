"""`text2reward`: one reward from typed stubs of the environment, then rounds of people's remarks.

Source: Xie et al. 2024, "Text2Reward: Reward Shaping with Language Models for Reinforcement
Learning" (ICLR 2024, arXiv 2309.11489).  The environment is described by classes with typed
attributes, shapes and comments; the prompt is zero-shot, or few-shot with designs of other tasks;
then people watch the policy and say what to improve.  There is no population and no metric in the
feedback.

Where we deviate, and why:
- The stubs are made from the table of the fields, not written by hand for each robot, and programs use
  their names directly: nothing is replaced in the text afterwards.
- The reward works on a batch and returns named components; the paper's is one number per step.
- The library chooses the examples; the paper takes the nearest expert rewards of other tasks by
  embedding (its script shows one, and so do we).
- A program that fails its check goes back at most twice; the released code asks until a code block
  matches.
- A job that does not wait for people (`await_feedback` false) is told the measurements where nobody
  said anything, or a further round would be asked for nothing.
- All rounds are kept in the conversation, the newest first to stay where the window is small.
Not confirmed: how many rounds of feedback people gave; three iterations are our choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.feedback import write_feedback
from core.fields import read_source
from core.methods.breeding import (
    best_of_rounds,
    briefs_on_newest,
    newest,
    newest_first,
)
from core.methods.fitting import Part, Piece, Rank
from core.methods.method import Method
from core.methods.prompting import (
    CLOSING,
    action_part,
    conversation,
    episode_part,
    examples_parts,
    given_part,
    known_fields,
    leaning_part,
    measured_part,
    mode_part,
    one_of_many,
    range_words,
    remarks_part,
    reply_of,
    safety_part,
    source_part,
    task_part,
    unusable_part,
)
from core.program import visible_fields
from core.records.asking import Brief, Prompt
from core.records.history import History
from core.records.rounds import Candidate, Feedback
from core.records.task import Field
from core.words import MOST_MEANING, number, one_line, quoted, without_metric

KNOWLEDGE = """\
# What rewards of this kind are made of

- The difference between where something is and where it should be, for each thing that matters.
- Stages: reach, then hold; a later stage pays only where the earlier one is fulfilled, and pays more.
  Choose the stage per row with `np.where`.
- A charge for large actions and for motion that the task does not need.
- A charge for leaving the states in which the task can still be done."""

FEATURE_KNOWLEDGE = """\
# What representations of this kind are made of

- The difference between where something is and where it should be, for each thing that matters.
- In which stage of the task the state is.
- What the state will be in a moment if nothing is done."""

REIMAGINE = (
    "Think again of the whole course of the task, step by step: which step does the module not lead "
    "to, or pay wrongly? Then write a better module."
)


# --- how it is asked --------------------------------------------------------------------------


def render(brief: Brief) -> Prompt:
    """Write the question, then every round: a module, and what people said of it."""
    question = _question(brief)
    if not brief.parents:
        told = [unusable_part(brief), remarks_part(brief), one_of_many(brief), CLOSING]
        return conversation(brief, [*question, *told])
    turns: list[Sequence[Piece]] = [question]
    earlier = best_of_rounds(brief.history, brief.parents[0].iteration)
    for order, candidate in enumerate(earlier):
        # The oldest round has the highest order, and gives way first.
        turns += _round(brief, candidate, len(earlier) - order)
    turns += [[reply_of(brief.parents[0])], [*_reaction(brief), one_of_many(brief), CLOSING]]
    return conversation(brief, *turns)


def _question(brief: Brief) -> list[Piece]:
    knowledge = FEATURE_KNOWLEDGE if brief.design == "features" else KNOWLEDGE
    what = "features" if brief.design == "features" else "a dense reward"
    return [
        task_part(brief),
        stubs_part(brief),
        action_part(brief),
        episode_part(brief),
        mode_part(brief),
        source_part(brief),
        Part(knowledge, Rank.ADVICE),
        *examples_parts(brief),
        safety_part(brief),
        leaning_part(brief),
        given_part(brief),
        f"# Your work\n\nThink first: how does an agent do this task, step by step? Then write {what} "
        f"for it, with comments that say what each part is for.",
    ]


def _round(brief: Brief, candidate: Candidate, order: int) -> list[Sequence[Piece]]:
    said = [r for r in brief.remarks if r.iteration == candidate.iteration]
    told = "\n".join(f"- {one_line(r.text, 400)}" for r in said if r.text) or "(nothing was said)"
    title = f"What people said of candidate {candidate.key}:"
    return [
        [Part(reply_of(candidate), Rank.EARLIER, order=order)],
        [Part(told, Rank.EARLIER, title, "remarks", order=order)],
    ]


def _reaction(brief: Brief) -> Iterator[Piece]:
    parent = brief.parents[0]
    said = any(remark.iteration >= parent.iteration for remark in brief.remarks)
    judged = " What people saw is all that is told of it." if said else ""
    yield (
        f"The module above is candidate {parent.key}. A policy was trained with it and "
        f"{'watched' if said else 'measured'}.{judged} {REIMAGINE}"
    )
    yield remarks_part(brief)
    if not said and brief.feedback is not None:
        yield measured_part(brief.feedback.text)


# --- the environment as classes ---------------------------------------------------------------


def stubs_part(brief: Brief) -> str:
    """Describe the environment as Python classes; what only the metric may see is no part of them."""
    fields = known_fields(brief)
    before = visible_fields(fields, "reward", "obs")
    after = visible_fields(fields, "reward", "next_obs")
    lines = ["class Obs:", '    """The state before a step, B rows at once."""', ""]
    lines += [_attribute(f, brief) for f in fields if f.name in before]
    lines += ["", "", "class NextObs(Obs):", '    """The state after the step."""', ""]
    more = [_attribute(f, brief) for f in fields if f.name in set(after) - set(before)]
    lines += more or ["    pass"]
    stubs = without_metric("\n".join(lines), fields)
    marked = "" if brief.design == "reward" else " What `features` may read is marked [f]."
    return (
        "# The environment\n\n"
        "`obs` is an `Obs`, `next_obs` a `NextObs`. A comment gives the shape, the unit, the range, "
        "the 1 %, 50 % and 99 % quantiles under random actions, and the meaning."
        f"{marked}\n\n{quoted('environment', stubs)}"
    )


def _attribute(field: Field, brief: Brief) -> str:
    source = read_source(field)
    kind = "torch.Tensor" if brief.task.array == "torch" else "np.ndarray"
    shape = "[B]" if source.stop is None else f"[B, {source.size}]"
    seen = brief.preflight.quantiles.get(field.name) if brief.preflight else None
    random = f"; random {', '.join(number(q) for q in seen)}" if seen else ""
    seen_by_policy = field.name in visible_fields(known_fields(brief), "features", "obs")
    mark = " [f]" if seen_by_policy and brief.design != "reward" else ""
    meaning = one_line(field.meaning, MOST_MEANING) or "not described"
    unit = one_line(field.unit, 30) or "1"
    told = f"{shape} {unit}, {range_words(field)}{random}{mark}: {meaning}"
    return f"    {field.name}: {kind}  # {told}"


# --- what is learnt ---------------------------------------------------------------------------


def digest(history: History, iteration: int) -> Feedback:
    """Put the iteration into words, with the newest candidate in detail; people judge by its policy."""
    return write_feedback(history, iteration, newest(history))


TEXT2REWARD = Method(
    name="text2reward",
    summary="One reward from a description of the environment as classes, bettered by what people say.",
    source="Xie et al. 2024, ICLR, arXiv 2309.11489",
    briefs=briefs_on_newest,
    render=render,
    digest=digest,
    select=newest_first,
    defaults={
        "candidates": 1,
        "iterations": 3,
        "mode": "replace",
        "design": "reward",
        "await_feedback": True,
        "training": {"rungs": (1.0,)},
        "context": {"examples": 1},
    },
)
