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
- Each of the K answers is told its number, so that a model without chance does not give one K times.
- Nothing is analysed where nothing was measured; beside the constants stand the components' statistics,
  what became of predictions, and the native reward alone.
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

from core.choosing import search_fitness
from core.feedback import why_not, write_feedback
from core.fitness_words import fitness_words
from core.methods.breeding import analysis_brief, brief_for, by_lower_bound, scored_first
from core.methods.fitting import Part, Piece, Rank
from core.methods.method import Method
from core.methods.prompting import (
    CLOSING,
    conversation,
    known_fields,
    one_of_many,
    remarks_part,
    setting_parts,
    unusable_part,
)
from core.program import current_source
from core.records.asking import Brief, Prompt
from core.records.history import History
from core.records.measured import Report, TermStatistics
from core.records.rounds import Candidate, Feedback
from core.words import number, percent, quoted, spread, without_metric

MOST_DIMENSIONS = 16  # of the observation's own, told per candidate

WORK = {
    "joint": """\
# Your work

Write both `features` and a `reward` that uses them.

- `features` adds what the policy needs in order to see how far the task is done. Every feature should
  say what no single entry says and a small network does not find by itself.
- `reward` is an intrinsic reward: it reads `features(next_obs)["name"]` of at least one of your
  features, and may read the fields. Keep the sum of its components within -100 to 100 in every step.
- In tasks with a goal, pay first for the motion that leads there, then for reaching it.""",
    "features": """\
# Your work

Write `features` that add what the policy needs in order to see how far the task is done. Every feature
should say what no single entry says and a small network does not find by itself.""",
    "reward": """\
# Your work

Write an intrinsic `reward`. Keep the sum of its components within -100 to 100 in every step. In
tasks with a goal, pay first for the motion that leads there, then for reaching it.""",
}
SMOOTHNESS = {
    "windowed": "The signal is the fitness of a step, or what is still to come of it where most steps "
    "are alike, in recorded episodes of the candidate's own policy. The smoothness of a dimension says "
    "how much the signal changes between neighbouring values of it (both in standard deviations): "
    "lower is smoother, and easier to learn from. `explains` is the share of the signal that the "
    "dimension accounts for by itself, 0 to 1; shares overlap. Best are dimensions that are smooth "
    "and explain much. Episodes are few and differ between candidates: only large differences count.",
    "lesr": "The Lipschitz constant of a dimension says how abruptly the environment's own reward "
    "changes when the dimension changes a little: lower is smoother, and smoother is better. It "
    "depends on the unit of the dimension; scaling a feature does not improve it.",
    "none": "",
}
OTHER_WISH = (
    "The Lipschitz constant of a dimension says how abruptly the environment's own reward changes when "
    "the dimension changes a little. That reward is not what is wished for here: a low constant is no "
    "merit."
)
LATER = "Find out which features and components help and which harm, then write better ones."
ANALYSE = """\
# Your work

Compare these candidates with each other and with the environment's own reward alone. Explain the
differences that are larger than their errors; where there are none, say so. Look at each feature and
each component in turn: which help, which harm, which do nothing, and how can one tell? Then say what
the next modules should do differently, in concrete terms. The author of the next modules will read
it."""


# --- what is asked ----------------------------------------------------------------------------


def briefs(history: History) -> tuple[Brief, ...]:
    """Ask for a new module in every slot; what was tried so far stands in the prompt."""
    return tuple(brief_for(history, n, "seed") for n in range(history.spec.candidates))


def analyse(history: History, iteration: int) -> Brief | None:
    """Ask what the iteration just measured teaches; nothing where nothing was."""
    measured = next(i for i in history.iterations if i.number == iteration)
    if all(search_fitness(candidate) is None for candidate in measured.candidates):
        return None
    return analysis_brief(history, digest(history, iteration))


# --- how it is asked --------------------------------------------------------------------------


def render(brief: Brief) -> Prompt:
    """Write one question with everything that was tried; an analysis asks for words alone."""
    work = ANALYSE if brief.kind == "analysis" else WORK[brief.design]
    closing = [] if brief.kind == "analysis" else [one_of_many(brief), CLOSING]
    pieces = [*setting_parts(brief), *_tried(brief), remarks_part(brief), work, *closing]
    return conversation(brief, pieces)


def _tried(brief: Brief) -> Iterator[Piece]:
    """Show every candidate of every iteration, the analysis after each; the worst gives way first."""
    if all(search_fitness(candidate) is None for candidate in brief.history):
        yield unusable_part(brief)
        return
    told = [
        "# What was tried\n\nEvery module so far, with the fitness of its policy and what was measured "
        "of its components and of each dimension of the state.",
        _smoothness_words(brief),
        "" if brief.kind == "analysis" else LATER,
    ]
    yield " ".join(filter(None, told))
    yield _of_native(brief)
    order = {c.key: place for place, c in enumerate(scored_first(brief.history))}
    for number_ in sorted({c.iteration for c in brief.history}):
        for candidate in (c for c in brief.history if c.iteration == number_):
            yield from _candidate(brief, candidate, order[candidate.key])
        if number_ < len(brief.analyses) and brief.analyses[number_]:
            title = f"What an adviser concluded after iteration {number_}, rightly or not:"
            text = without_metric(brief.analyses[number_], known_fields(brief))
            yield Part(text, Rank.MEASURED, title, "analysis", least=600)


def _smoothness_words(brief: Brief) -> str:
    other = brief.smoothness == "lesr" and brief.task.fitness.kind != "return"
    return OTHER_WISH if other else SMOOTHNESS[brief.smoothness]


def _of_native(brief: Brief) -> str:
    """Tell what is known of the environment's own reward alone, which every module is held against."""
    if brief.baseline is None:
        return ""
    lines = [f"fitness {spread(brief.native) if brief.native else number(brief.baseline)}"]
    lines += _inputs(brief, brief.native_report)
    body = without_metric("\n".join(lines), known_fields(brief))
    return f"## The environment's own reward alone\n\n{quoted('measurements', body)}"


def _candidate(brief: Brief, candidate: Candidate, order: int) -> Iterator[Piece]:
    """Show what was measured of a candidate, then its code; of those that failed the reason alone."""
    title = f"## Candidate {candidate.key}"
    if search_fitness(candidate) is None:
        text = without_metric(f"no fitness: {why_not(candidate)}", known_fields(brief))
        yield Part(text, Rank.OTHERS, title, "measurements", order=order)
        return
    lines = [f"fitness {fitness_words(candidate, brief.training)}"]
    lines += brief.predictions.get(candidate.key, ())
    lines += [*_components(candidate), *dimensions(brief, candidate)]
    body = without_metric("\n".join(lines), known_fields(brief))
    code = "" if candidate.program is None else current_source(candidate.program).rstrip()
    if order == 0:  # the best one is told whatever else has to go
        yield f"{title}\n\n{quoted('measurements', body)}\n\n{quoted('module', code)}"
        return
    yield Part(body, Rank.OTHERS, title, "measurements", order=order)
    yield Part(code, Rank.OTHERS, "", "module", order=order)


def _components(candidate: Candidate) -> list[str]:
    terms = {} if candidate.report is None else candidate.report.components
    return [
        f"component `{name}`: mean {number(s.mean)} per step, {percent(s.share)} of all that the "
        f"components pay{_over_training(s)}"
        for name, s in terms.items()
    ]


def _over_training(s: TermStatistics) -> str:
    return f"; over training {', '.join(map(number, s.by_checkpoint))}" if s.by_checkpoint else ""


def dimensions(brief: Brief, candidate: Candidate) -> list[str]:
    """Write the smoothness of every dimension, those of the features first."""
    report = candidate.report
    if report is None or brief.smoothness == "none":
        return []
    own = [f"feature `{name}`: {_smooth(brief, s)}" for name, s in report.features.items()]
    return [*own, *_inputs(brief, report)]


def _inputs(brief: Brief, report: Report | None) -> list[str]:
    if report is None or brief.smoothness == "none":
        return []
    given = [f"observed `{name}`: {_smooth(brief, s)}" for name, s in report.inputs.items()]
    left = len(given) - MOST_DIMENSIONS
    more = [f"... and {left} more dimensions of the observation"] if left > 0 else []
    return [*given[:MOST_DIMENSIONS], *more]


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
