"""`card`: trajectories judge a reward before any training, and choose what the designer is told.

Source: Sun et al. 2025, "A Large Language Model-Driven Reward Code Design Framework via Dynamic
Feedback for Reinforcement Learning" (Knowledge-Based Systems; arXiv 2410.14660).  One candidate an
iteration. Trajectory preference evaluation (TPE) orders stored trajectories by the new reward.  A
reward that passes is trained, and the designer is told of the process (the fitness and each
component at a few points of training) and of two trajectories; one that fails is not trained, and
the designer is told which trajectories it orders wrongly.  The conversation keeps all messages.

Where we deviate, and why:
- TPE is the screen `order`: it orders by fitness, in any task, and needs no success flag; the paper
  counts successful trajectories that are paid more per step than the best failure, and passes at
  0.8.
- The screen abstains while the store cannot tell good from bad; the paper passes then, which is the
  same.
- A reward that fails is not trained, as in the paper; the released driver for ManiSkill trains it
  anyway.
- The store begins with the baseline's trajectories, so that the screen can tell from the first
  iteration.
- Where the window is small, the oldest exchanges of the conversation are left out.
Not confirmed: the number of points of the process feedback (ten here) and of iterations (the paper's
runs seem to use about two, our preset three).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.choosing import search_fitness
from core.diagnoses import fitness_curve
from core.episode_words import episode_rows, hidden_names
from core.feedback import (
    thinned,
    why_not,
    write_feedback,
)
from core.fitness_words import fitness_words
from core.methods.breeding import (
    best_of_rounds,
    brief_for,
    by_lower_bound,
    closed,
    earlier,
    newest,
)
from core.methods.fitting import Part, Piece, Rank
from core.methods.method import Method
from core.methods.prompting import (
    CLOSING,
    conversation,
    known_fields,
    measured_part,
    one_of_many,
    remarks_part,
    reply_of,
    setting_parts,
    thumbs_part,
    unusable_part,
)
from core.records.asking import Brief, Prompt
from core.records.history import History
from core.records.kinds import Operator
from core.records.measured import Report
from core.records.rounds import Candidate, Feedback
from core.words import cut, number, percent, without_metric

MOST_ROUND = 12_000  # characters of the feedback on one round

WORK = """\
# Your work

Write a reward for this task. Think first: which trajectories are good and which are bad, and would
your reward tell them apart? Before anything is trained, stored trajectories are ordered by the return
that your reward gives them, and compared with the order of their fitness."""
FEATURE_WORK = """\
# Your work

Write features for this task. Think first: what must the policy see to tell a good step from a bad
one?"""
IMPROVE = {
    "trained": "Improve your module with this. Keep what leads the policy on, and change what "
    "misleads it or has no effect.",
    "screened": "Nothing was trained. Change the reward so that better trajectories are paid more "
    "than worse ones, by a clear margin.",
    "broken": "Write a module that avoids this.",
}


# --- what is asked ----------------------------------------------------------------------------


def briefs(history: History) -> tuple[Brief, ...]:
    """Ask for a first module, then to improve the last one, trained or screened."""
    rounds = best_of_rounds(earlier(history), len(closed(history).iterations))
    operator: Operator = "refine" if rounds else "seed"
    return tuple(
        brief_for(history, n, operator, rounds[-1:]) for n in range(history.spec.candidates)
    )


# --- how it is asked --------------------------------------------------------------------------


def render(brief: Brief) -> Prompt:
    """Write the whole conversation: each module so far, and the feedback on it."""
    work = FEATURE_WORK if brief.design == "features" else WORK
    question = [*setting_parts(brief), thumbs_part(brief), work]
    rounds = best_of_rounds(brief.history, brief.iteration)
    if not rounds:
        told = [unusable_part(brief), remarks_part(brief), one_of_many(brief), CLOSING]
        return conversation(brief, [*question, *told])
    turns: list[Sequence[Piece]] = [question]
    for place, candidate in enumerate(rounds[:-1]):
        turns += _round(brief, candidate, len(rounds) - place)
    last = rounds[-1]
    text = _feedback(brief, last)
    turns += [
        [reply_of(last)],
        [
            measured_part(text, _heading(last)),
            *_lost(brief, last),
            remarks_part(brief),
            _ask(last),
            one_of_many(brief),
            CLOSING,
        ],
    ]
    return conversation(brief, *turns)


def _round(brief: Brief, candidate: Candidate, order: int) -> list[Sequence[Piece]]:
    """Show an earlier round; the oldest has the highest order, and gives way first."""
    told = Part(
        _feedback(brief, candidate),
        Rank.EARLIER,
        _heading(candidate),
        "measurements",
        MOST_ROUND,
        order=order,
    )
    return [
        [Part(reply_of(candidate), Rank.EARLIER, order=order)],
        [told, Part(_ask(candidate), Rank.EARLIER, order=order)],
    ]


def _lost(brief: Brief, shown: Candidate) -> list[Piece]:
    """Tell of the answers of the last iteration that came to nothing, beside the one that is shown."""
    newest_ones = [c for c in brief.history if c.iteration == brief.iteration - 1]
    lost = [c for c in newest_ones if c.key != shown.key and search_fitness(c) is None]
    if not lost:
        return []
    reasons = "\n".join(f"- candidate {c.key}: {why_not(c)}" for c in lost)
    return [measured_part(reasons, "Other answers of yours could not be used:")]


def _kind(candidate: Candidate) -> str:
    if _failed_order(candidate):
        return "screened"
    return "broken" if search_fitness(candidate) is None else "trained"


def _failed_order(candidate: Candidate) -> str:
    failed = [s for s in candidate.screens if s.verdict == "fail"]
    return failed[0].message if failed and not candidate.runs else ""


def _heading(candidate: Candidate) -> str:
    above = f"The module above, candidate {candidate.key},"
    return {
        "screened": f"{above} did not pass the comparison with stored trajectories:",
        "trained": f"{above} was used to train a policy. The process, and two trajectories:",
        "broken": f"{above} could not be used. The reason:",
    }[_kind(candidate)]


def _ask(candidate: Candidate) -> str:
    return IMPROVE[_kind(candidate)]


def _feedback(brief: Brief, candidate: Candidate) -> str:
    """Route the feedback: preference where the order was wrong, else process and trajectories."""
    kind = _kind(candidate)
    if kind == "screened":
        text = _failed_order(candidate)
    elif kind == "broken":
        text = why_not(candidate)
    else:
        text = "\n\n".join(filter(None, _process(brief, candidate)))
    return cut(without_metric(text, known_fields(brief)), MOST_ROUND)


def _process(brief: Brief, candidate: Candidate) -> Iterator[str]:
    """Write the process feedback, then the trajectory feedback."""
    floor = brief.preflight.random_fitness if brief.preflight else None
    yield (
        f"fitness {fitness_words(candidate, brief.training)}; random policy {number(floor)}, "
        f"native reward {number(brief.baseline)}"
    )
    curve = thinned(fitness_curve(candidate))
    if curve:
        yield "Process (environment steps: fitness): " + ", ".join(
            f"{step}: {number(value)}" for step, value in curve
        )
    report = candidate.report
    if report is not None:
        yield _returns(report)
        hidden = hidden_names(known_fields(brief))
        yield episode_rows(report, brief.task.fitness, hidden, ("best", "worst"))


def _returns(report: Report) -> str:
    """Write what each component pays in an episode, and how it grew per step over training."""
    length = report.episode_length
    lines = [
        f"- `{name}`: {number(s.mean * length)} per episode, per step {number(s.mean)}, "
        f"std {number(s.std)}; "
        f"over training {', '.join(map(number, s.by_checkpoint)) or 'not measured'}"
        for name, s in report.components.items()
    ]
    lines += [
        f"- feature `{name}`: mean {number(s.mean)}, std {number(s.std)}"
        for name, s in report.features.items()
    ]
    ends = f"Episodes last {number(length)} steps, {percent(report.terminated)} end early."
    return "\n".join((ends, *lines))


# --- what is learnt ---------------------------------------------------------------------------


def digest(history: History, iteration: int) -> Feedback:
    """Put the iteration into words for people; the prompt is written from the candidates themselves."""
    return write_feedback(history, iteration, newest(history))


CARD = Method(
    name="card",
    summary="One reward, judged by stored trajectories before training; they choose the feedback.",
    source="Sun et al. 2025, Knowledge-Based Systems, arXiv 2410.14660",
    briefs=briefs,
    render=render,
    digest=digest,
    select=by_lower_bound,
    defaults={
        "candidates": 1,
        "iterations": 3,
        "mode": "replace",
        "design": "reward",
        "screens": ("order",),
        "training": {"rungs": (1.0,)},
    },
)
