"""`self_refine`: a staged design, a report of what the trajectories did, and rounds of refinement.

Source: Song et al. 2023, "Self-Refined Large Language Model as Automated Reward Function Designer
for Deep Reinforcement Learning in Robotics" (arXiv 2309.06687).  A zero-shot prompt in segments
(environment, task, observable states, rules) asks for a first design; the trained policy is
evaluated by training statistics, objective metrics of its trajectories and the success rate; the
designer refines its own design with that report, a handful of rounds.

Where we deviate, and why:
- The objective metrics are made for every task from its fields (mean, smallest, largest and last
  value in the recorded episodes); the paper defines them by hand for each of its nine tasks.
- Three recorded episodes (best, median, worst) stand for the many trials of the paper; the success rate
  counts every evaluation episode, against the goal that the task names.
- A program that fails its check goes back at most twice.
Not confirmed, because the code was never released: the exact segments and wording, and the number of
rounds; five iterations are our choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from core.choosing import native_fitness, search_fitness
from core.diagnoses import fitness_curve
from core.episode_words import hidden_names, scattered
from core.feedback import (
    MOST_CHARACTERS,
    fields_of,
    prediction_words,
    thinned,
    why_not,
    write_feedback,
)
from core.fitness_words import fitness_words
from core.methods.breeding import briefs_on_newest, newest, newest_first
from core.methods.method import Method
from core.methods.prompting import (
    CLOSING,
    conversation,
    measured_part,
    one_of_many,
    remarks_part,
    reply_of,
    setting_parts,
    unusable_part,
)
from core.predictions import record_words
from core.records.asking import Brief, Prompt
from core.records.history import History
from core.records.kinds import Json
from core.records.measured import Report
from core.records.rounds import Candidate, Feedback
from core.statistics import mean
from core.words import cut, number, percent, without_metric

STAGES = {
    "joint": """\
# Your work

Design in stages, and write the stages into the docstring of the module:

1. Name the goal of the task and the states that an agent passes on the way to it.
2. For each of them, say which fields tell that it was reached, and how.
3. Give each a component whose size fits its place, then the penalties that keep the motion sound.
4. Set the weights so that a later stage always pays more than staying in an earlier one.""",
    "features": """\
# Your work

Design in stages, and write the stages into the docstring of the module:

1. Name the goal of the task and the states that an agent passes on the way to it.
2. For each of them, say which fields tell that it was reached, and how.
3. Give the policy a feature for each that the observation does not show plainly.""",
}
EVALUATED = """\
A policy was trained with the module above and evaluated. The report follows: how training went, what
the episodes of the trained policy did, how often it succeeded, and what each component paid."""
REFINE = """\
# Your work

Refine your own design with this report. If the policy does not learn, find the stage that it never
reaches and the component that should have led there. If it learns something else, find the component
that pays for it. Change what the report speaks against, and keep the rest."""


# --- how it is asked --------------------------------------------------------------------------


def render(brief: Brief) -> Prompt:
    """Write the question; then the newest design, its report, and the request to refine it."""
    stages = STAGES["features" if brief.design == "features" else "joint"]
    question = [*setting_parts(brief), stages]
    text = brief.feedback.text if brief.feedback is not None else ""
    if not brief.parents:
        told = [unusable_part(brief), remarks_part(brief), one_of_many(brief), CLOSING]
        return conversation(brief, [*question, *told])
    report = [
        measured_part(text, EVALUATED),
        remarks_part(brief),
        REFINE,
        one_of_many(brief),
        CLOSING,
    ]
    return conversation(brief, question, [reply_of(brief.parents[0])], report)


# --- what is learnt ---------------------------------------------------------------------------


def digest(history: History, iteration: int) -> Feedback:
    """Report on the newest design: training, trajectories, success, components."""
    subject = newest(history)
    told = write_feedback(history, iteration, subject)
    fields = fields_of(history)
    text = "\n\n".join(filter(None, _report(history, iteration, subject)))
    return replace(told, text=cut(without_metric(text, fields), MOST_CHARACTERS))


def _report(history: History, iteration: int, subject: Candidate | None) -> Iterator[str]:
    current = next(i for i in history.iterations if i.number == iteration)
    failed = [c for c in current.candidates if search_fitness(c) is None]
    reasons = [f"- candidate {c.key}: {why_not(c)}" for c in failed]
    if subject is not None:
        yield from _of_subject(history, subject)
    if reasons:
        yield "\n".join(("Modules that could not be trained:", *reasons))


def _of_subject(history: History, subject: Candidate) -> Iterator[str]:
    floor = history.preflight.random_fitness if history.preflight else None
    yield (
        f"Candidate {subject.key}: fitness {fitness_words(subject, history.spec.training)}; "
        f"random policy {number(floor)}, native reward {number(native_fitness(history))}."
    )
    claims = [f"- {words}" for words in prediction_words(history, subject)]
    yield "\n".join(("Your prediction:", *claims)) if claims else ""
    yield record_words(history)
    curve = thinned(fitness_curve(subject))
    if curve:
        points = ", ".join(f"{step}: {number(value)}" for step, value in curve)
        yield f"Training (environment steps: fitness): {points}"
    yield _rates(history, subject)
    if subject.report is not None:
        yield _metrics(subject.report, hidden_names(fields_of(history)))
        yield _components(subject.report)


def _rates(history: History, subject: Candidate) -> str:
    """Tell the success rate over all evaluation episodes, as far as the task names a goal."""
    last = max(run.rung for run in subject.runs)
    episodes = [value for run in subject.runs if run.rung == last for value in run.episodes]
    fitness, lines = history.spec.task.fitness, []
    goal = 1.0 if fitness.kind == "success" else fitness.goal
    if episodes and goal is not None:
        share = sum(value >= goal for value in episodes) / len(episodes)
        lines.append(f"success rate {percent(share)} of {len(episodes)} episodes")
    if episodes:
        spread = f"from {number(min(episodes))} to {number(max(episodes))}"
        lines.append(f"fitness of an episode {spread}, {number(mean(episodes))} on average")
    if subject.report is not None:
        lines.append(f"{percent(subject.report.terminated)} of the episodes end early")
        lines.append(f"{number(subject.report.episode_length)} steps on average")
    return f"Evaluation: {'; '.join(lines)}." if lines else ""


def _metrics(report: Report, hidden: frozenset[str]) -> str:
    """Write the objective metrics of each recorded episode, field by field."""
    lines = []
    for name, rows in report.episodes.items():
        for column, values in _columns(scattered(rows), hidden).items():
            lines.append(
                f"- {name} episode, {column}: mean {number(mean(values))}, min {number(min(values))}, "
                f"max {number(max(values))}, last {number(values[-1])}"
            )
    return "\n".join(("Metrics of recorded episodes:", *lines)) if lines else ""


def _columns(rows: Sequence[Json], hidden: frozenset[str]) -> Mapping[str, list[float]]:
    """Return the numbers of each column; entries of vectors get columns of their own."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            if key in hidden or key == "step":
                continue
            entries = value if isinstance(value, list | tuple) else [value]
            for place, entry in enumerate(entries):
                if _is_number(entry):
                    name = key if entries != value else f"{key}[{place}]"
                    found.setdefault(name, []).append(float(entry))
    return found


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _components(report: Report) -> str:
    lines = [
        f"- `{name}`: mean {number(s.mean)}, std {number(s.std)}, {percent(s.share)} of all that is "
        f"paid; over training: {', '.join(map(number, s.by_checkpoint)) or 'not measured'}"
        for name, s in report.components.items()
    ]
    lines += [
        f"- feature `{name}`: mean {number(s.mean)}, from {number(s.low)} to {number(s.high)}"
        for name, s in report.features.items()
    ]
    return "\n".join(("Components (per step):", *lines)) if lines else ""


SELF_REFINE = Method(
    name="self_refine",
    summary="One staged design, refined with a report of what its policy's trajectories did.",
    source="Song et al. 2023, arXiv 2309.06687",
    briefs=briefs_on_newest,
    render=render,
    digest=digest,
    select=newest_first,
    defaults={
        "candidates": 1,
        "iterations": 5,
        "mode": "replace",
        "design": "reward",
        "training": {"rungs": (1.0,)},
    },
)
