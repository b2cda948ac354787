"""`lesr`: features and an intrinsic reward that uses them, judged by how smooth they make the task.

Source: Wang et al. 2024, "LLM-Empowered State Representation for Reinforcement Learning" (ICML
2024, arXiv 2407.13237).  K candidates an iteration; after each iteration the designer analyses all
of them, with score and a Lipschitz constant per dimension; the next prompt holds every former
candidate's code, score and constants, and every analysis.  The policy is trained on the native
reward plus a small weight times the designed one.

Where we deviate, and why:
- Features are named entries beside the observation and the intrinsic reward reads them by name; the
  paper returns one longer vector.  The reward may also see the action and the state before the step.
- The smoothness that is told is the windowed, unit-invariant one unless the job asks for `lesr`, the
  paper's form.  The released code never clears its window, so that every dimension's constant tends to
  the same value, and a feature that is multiplied by a thousand seems a thousand times smoother.
- Programs that failed their check or training are listed with the reason; the paper samples again,
  silently.
- A program that fails goes back at most twice; the released code repeats the call up to 50 times.
- Dict observations keep the achieved goal; the released code dropped it.
- The learner is the job's own; the paper trains TD3 for 800,000 steps while searching and for
  1,000,000 in the end, and scores by the last ten evaluations.
Not confirmed: the figures of the paper's table 1, which could not be read.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.feedback import fitness_words, why_not, write_feedback
from core.loop import search_fitness
from core.methods.breeding import analysis_brief, brief_for, by_lower_bound, scored_first
from core.methods.fitting import Part, Piece, Rank
from core.methods.method import Method
from core.methods.prompting import (
    CLOSING,
    conversation,
    known_fields,
    remarks_part,
    setting_parts,
)
from core.program import current_source
from core.records import Brief, Candidate, Feedback, History, Prompt, TermStatistics
from core.words import number, quoted, without_metric

MOST_DIMENSIONS = 16  # of the observation's own, told per candidate

WORK = {
    "joint": """\
# Your work

Write `features` and a `reward` that uses them.

- `features` adds what the policy needs in order to see how far the task is done. Every feature
  should be computed from several entries, or in a way that a small network does not find by itself.
- `reward` is an intrinsic reward: it must use `features(next_obs)["name"]` of at least one of your
  features, and may use the fields. Keep the sum of its components within -100 to 100 in every step.
- In tasks with a goal, pay first for coordinating the body, then for reaching the goal.""",
    "features": """\
# Your work

Write `features` that add what the policy needs in order to see how far the task is done. Every feature
should be computed from several entries, or in a way that a small network does not find by itself.""",
    "reward": """\
# Your work

Write an intrinsic `reward`. Keep the sum of its components within -100 to 100 in every step. In
tasks with a goal, pay first for coordinating the body, then for reaching the goal.""",
}
SMOOTHNESS = {
    "windowed": "The smoothness of a dimension says how abruptly the task's own signal changes "
    "when the dimension changes a little (both in standard deviations): lower is smoother, and a "
    "smooth dimension makes the value easy to learn. `explains` says how much of the signal the "
    "dimension accounts for, 0 to 1. Best are dimensions that are smooth and explain much; a "
    "smooth one that explains nothing is of no use.",
    "lesr": "The Lipschitz constant of a dimension says how abruptly the reward changes when the "
    "dimension changes a little: lower is smoother, and smoother is better. It depends on the "
    "unit of the dimension; scaling a feature does not improve it.",
    "none": "",
}
LATER = "Find out from them which features help and which harm, then write better ones."
ANALYSE = """\
# Your work

Explain why some of these candidates did better than others. Look at each feature and each component
in turn: which help, which harm, which do nothing, and how can one tell? Then say what the next
modules should do differently, in concrete terms. Answer in words alone; what you write will be
shown to the author of
the next modules."""


# --- what is asked ----------------------------------------------------------------------------


def briefs(history: History) -> tuple[Brief, ...]:
    """Ask for a new module in every slot; what was tried so far stands in the prompt."""
    return tuple(brief_for(history, n, "seed") for n in range(history.spec.candidates))


def analyse(history: History, iteration: int) -> Brief:
    """Ask what the iteration just measured teaches."""
    return analysis_brief(history, digest(history, iteration))


# --- how it is asked --------------------------------------------------------------------------


def render(brief: Brief) -> Prompt:
    """Write one question with everything that was tried; an analysis asks for words alone."""
    work = ANALYSE if brief.kind == "analysis" else WORK[brief.design]
    closing = [] if brief.kind == "analysis" else [CLOSING]
    pieces = [*setting_parts(brief), *_tried(brief), remarks_part(brief), work, *closing]
    return conversation(brief, pieces)


def _tried(brief: Brief) -> Iterator[Piece]:
    """Show every candidate of every iteration, the analysis after each; the worst gives way first."""
    if not brief.history:
        return
    smoothness = SMOOTHNESS[brief.smoothness]
    yield " ".join(
        filter(
            None,
            (
                "# What was tried\n\nEvery module so far, with the fitness of its policy and what was "
                "measured of each dimension of the state.",
                smoothness,
                "" if brief.kind == "analysis" else LATER,
            ),
        )
    )
    order = {c.key: place for place, c in enumerate(scored_first(brief.history))}
    for number_ in sorted({c.iteration for c in brief.history}):
        for candidate in (c for c in brief.history if c.iteration == number_):
            yield _candidate(brief, candidate, order[candidate.key])
        if number_ < len(brief.analyses) and brief.analyses[number_]:
            title = f"What the designer concluded after iteration {number_}:"
            text = without_metric(brief.analyses[number_], known_fields(brief))
            yield Part(text, Rank.MEASURED, title, "analysis", least=600)


def _candidate(brief: Brief, candidate: Candidate, order: int) -> Piece:
    title = f"## Candidate {candidate.key}"
    if search_fitness(candidate) is None:
        text = f"no fitness: {why_not(candidate)}"
    else:
        text = f"fitness {fitness_words(candidate)}"
    lines = [text, *dimensions(brief, candidate)]
    if candidate.program is not None:
        lines += ["", current_source(candidate.program).rstrip()]
    body = without_metric("\n".join(lines), known_fields(brief))
    if order == 0:  # the best one is told whatever else has to go
        return f"{title}\n\n{quoted('module', body)}"
    return Part(body, Rank.OTHERS, title, "module", order=order)


def dimensions(brief: Brief, candidate: Candidate) -> list[str]:
    """Write the smoothness of every dimension, those of the features first."""
    report = candidate.report
    if report is None or brief.smoothness == "none":
        return []
    own = [f"feature `{name}`: {_smooth(brief, s)}" for name, s in report.features.items()]
    given = [f"`{name}`: {_smooth(brief, s)}" for name, s in report.inputs.items()]
    left = len(given) - MOST_DIMENSIONS
    more = [f"... and {left} more dimensions of the observation"] if left > 0 else []
    return [*own, *given[:MOST_DIMENSIONS], *more]


def _smooth(brief: Brief, s: TermStatistics) -> str:
    if brief.smoothness == "lesr":
        return f"Lipschitz constant {number(s.lipschitz)}"
    return f"smoothness {number(s.smooth)}, explains {number(s.explains)}"


# --- what is learnt ---------------------------------------------------------------------------


def digest(history: History, iteration: int) -> Feedback:
    """Put an iteration into words, with the most reliable candidate in detail."""
    ranked = by_lower_bound(history)
    return write_feedback(history, iteration, ranked[0] if ranked else None)


LESR = Method(
    name="lesr",
    summary="Features and an intrinsic reward beside the native one; all that was tried is shown.",
    source="Wang et al. 2024, ICML, arXiv 2407.13237",
    briefs=briefs,
    render=render,
    digest=digest,
    select=by_lower_bound,
    defaults={
        "candidates": 6,
        "iterations": 3,
        "mode": "add",
        "weight": 0.02,
        "design": "joint",
        "smoothness": "windowed",
        "training": {"rungs": (1.0,), "seeds": 1},
        "evaluation": {"confirm_seeds": 5},
    },
    analyse=analyse,
)
