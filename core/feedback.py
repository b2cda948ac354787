"""What an iteration taught, put into words: a table of all candidates, and the best one in detail.

The most important comes first, because the text is cut at a length that a prompt can afford.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from core.choosing import native_fitness, ranking, rung_fitness, search_fitness
from core.diagnoses import (
    AGAINST,
    at_rest,
    component_flags,
    diagnose,
    fitness_curve,
    is_switch,
    to_and_fro,
)
from core.episode_words import episode_rows, hidden_names
from core.fitness_words import fitness_words, seed_error, seed_fitness, stopped_early
from core.input_words import input_sections
from core.predictions import claims_data, record_words, score, tally
from core.records.history import History
from core.records.kinds import Design, Json, Smoothness
from core.records.measured import Report, TermStatistics
from core.records.rounds import Candidate, Feedback, Iteration
from core.records.task import Field, Fitness
from core.rungs import reached
from core.statistics import mean, told_by
from core.words import (
    cut,
    first_sentence,
    number,
    one_line,
    percent,
    signed,
    without_metric,
)

MOST_CHARACTERS = 24_000  # about 6,000 tokens
MOST_ROWS = 40
MOST_SCREENED = 2
POINTS = 10
TELLING = 0.05  # share of steps at an extreme, from which it is told
CORRELATION = (
    "correlation with fitness is the rank correlation of an episode's sum with the episode's fitness, "
    "left out where so few episodes cannot tell it from 0"
)


def write_feedback(history: History, number_: int, best: Candidate | None) -> Feedback:
    """Put an iteration into words and numbers.

    Args:
        history: all that is stored.
        number_: of the iteration.
        best:    the candidate that the method would refine next, described in detail; None if no
            candidate of the job was ever scored.
    """
    iteration = _iteration(history, number_)
    diagnoses = diagnose(history, best)
    sections = [
        _summary(history, iteration, best),
        _table(history, iteration, best),
        _screened(iteration),
        record_words(history),
        _listed("Diagnoses", diagnoses),
        *([] if best is None else _details(history, best)),
    ]
    text = "\n\n".join(section for section in sections if section)
    fields = fields_of(history)
    return Feedback(
        iteration=number_,
        text=cut(without_metric(text, fields), MOST_CHARACTERS),
        best=None if best is None else best.key,
        diagnoses=tuple(without_metric(d, fields) for d in diagnoses),
        data=_data(history, iteration, best),
    )


def _iteration(history: History, number_: int) -> Iteration:
    return next(i for i in history.iterations if i.number == number_)


def fields_of(history: History) -> tuple[Field, ...]:
    """Return the fields that preflight confirmed, or the task's own before it."""
    return history.preflight.fields if history.preflight else history.spec.task.fields


def _listed(title: str, lines: Sequence[str]) -> str:
    return "\n".join((f"{title}:", *(f"- {line}" for line in lines))) if lines else ""


# --- all candidates ---------------------------------------------------------------------------


def _summary(history: History, iteration: Iteration, best: Candidate | None) -> str:
    native = native_fitness(history)
    floor = history.preflight.random_fitness if history.preflight else None
    known = [
        *([f"native reward {number(native)}"] if native is not None else []),
        *([f"random policy {number(floor)}"] if floor is not None else []),
    ]
    against = f" For comparison: {', '.join(known)}." if known else ""
    if best is None:
        return (
            f"Iteration {iteration.number}: nothing could be trained and measured so "
            f"far.{against} The reasons stand below."
        )
    leader = _leader(history, best)
    training = history.spec.training
    other = (
        ""
        if best.key == leader.key
        else f" Described below is candidate {best.key}, with {fitness_words(best, training, leader)}."
    )
    return (
        f"Iteration {iteration.number}: the best of the whole job so far, by mean fitness less its "
        f"standard error, is candidate {leader.key} with a fitness of "
        f"{fitness_words(leader, training)}.{other}{against}"
        f"{_solved(history, leader)}{_alike(history, iteration, leader)}"
    )


def _leader(history: History, best: Candidate) -> Candidate:
    """Return the best of the job, against which all are held; who is refined next may be another."""
    return next(iter(ranking(history)), best)


def _solved(history: History, best: Candidate) -> str:
    """Say so where the goal of the task is passed."""
    goal, fitness = history.spec.task.fitness.goal, search_fitness(best)
    if goal is None or fitness is None or fitness < goal:
        return ""
    return f" The task counts as solved at {number(goal)}, which is passed; more is better still."


def _alike(history: History, iteration: Iteration, best: Candidate) -> str:
    """Name the candidates whose fitness cannot be told from the best one's."""
    others = [c for c in iteration.candidates if c.key != best.key]
    alike = [c.key for c in others if _within_error(history, c, best)]
    if not alike:
        return ""
    return f" Within the errors {', '.join(alike)} did as well; do not read much into the order."


def _within_error(history: History, candidate: Candidate, best: Candidate) -> bool:
    """Tell whether two fitnesses of several seeds differ by less than twice their error."""
    ours, theirs = seed_fitness(candidate), seed_fitness(best)
    same_rung = reached(candidate) == reached(best)
    if search_fitness(candidate) is None or not same_rung or min(len(ours), len(theirs)) < 2:
        return False
    error = math.hypot(seed_error(history, candidate), seed_error(history, best))
    return abs(mean(ours) - mean(theirs)) <= 2.0 * error


def _table(history: History, iteration: Iteration, best: Candidate | None) -> str:
    leader = None if best is None else _leader(history, best)
    rows = [_row(history, c, leader) for c in iteration.candidates[:MOST_ROWS]]
    left = len(iteration.candidates) - len(rows)
    more = [f"... and {left} more"] if left > 0 else []
    head = "status, how made; result; idea; prediction"
    title = f"All candidates of iteration {iteration.number} ({head}):"
    return "\n".join((title, *rows, *more)) if rows else ""


def _row(history: History, candidate: Candidate, best: Candidate | None) -> str:
    parents = f" of {', '.join(candidate.parents)}" if candidate.parents else ""
    words = first_sentence(candidate.analysis) or "none given"
    made = "first design" if candidate.operator == "seed" else candidate.operator
    parts = [
        f"- {candidate.key} {candidate.status}, {made}{parents}",
        result_words(history, candidate, best).rstrip("."),
        f"idea: {words}",
    ]
    # What a program that was not trained would have done, nobody knows.
    parts += prediction_words(history, candidate) if candidate.runs else []
    return "; ".join(parts)


def prediction_words(history: History, candidate: Candidate) -> list[str]:
    """Say what became of each decided claim of a prediction; repeat words that are no claim."""
    claims = score(history, candidate)
    if claims:
        return [claim.words for claim in claims if claim.decided]
    return [f"predicted: {one_line(candidate.prediction)}"] if candidate.prediction else []


def result_words(history: History, candidate: Candidate, best: Candidate | None) -> str:
    """Say what became of a candidate: its fitness against others, or why it has none."""
    fitness = search_fitness(candidate)
    if fitness is None:
        return f"no fitness: {why_not(candidate)}"
    told = f"fitness {fitness_words(candidate, history.spec.training, best)}"
    if stopped_early(candidate, history.spec.training):
        return told
    compared = []
    other = best is not None and best.key != candidate.key
    reference = rung_fitness(best, reached(candidate)) if best is not None and other else None
    if reference is not None:
        compared.append(f"{signed(fitness - reference)} against the best")
    if (native := native_fitness(history)) is not None:
        compared.append(f"{signed(fitness - native)} against native")
    return ", ".join((told, *compared))


def why_not(candidate: Candidate) -> str:
    """Return, on one line, why a candidate has no fitness."""
    if candidate.rejection:
        return one_line(f"{candidate.rejection.rstrip('.')}{_line_at_fault(candidate)}", 400)
    if candidate.status == "screened":
        against = [s for s in candidate.screens if s.verdict == "fail"]
        words = (f"screened as {s.name}, not trained: {s.message.splitlines()[0]}" for s in against)
        return one_line("; ".join(words), 400)
    failures = [run.failure for run in candidate.runs if run.failure]
    if failures:
        return one_line(failures[0], 400)
    failed = [check.message for check in candidate.checks if not check.passed]
    return one_line(failed[0], 400) if failed else "it was not trained"


def _line_at_fault(candidate: Candidate) -> str:
    """Return the line of the program that its refusal names, as far as there is a program."""
    named = re.search(r"\bline (\d+)", candidate.rejection or "")
    if named is None or candidate.program is None:
        return ""
    lines = candidate.program.source.splitlines()
    line = lines[int(named[1]) - 1].strip() if 0 < int(named[1]) <= len(lines) else ""
    return f" (the line: `{one_line(line, 120)}`)" if line else ""


def _screened(iteration: Iteration) -> str:
    """Quote in full why candidates were kept from training, the rows of a worst pair included."""
    told = [
        f"Candidate {c.key} was not trained ({s.name}): {s.message}"
        for c in iteration.candidates
        if c.status == "screened"
        for s in c.screens
        if s.verdict == "fail" and "\n" in s.message
    ]
    return "\n\n".join(told[:MOST_SCREENED])


# --- one candidate in detail ------------------------------------------------------------------


def _details(history: History, candidate: Candidate) -> Iterator[str]:
    yield _curves(history, candidate)
    report = candidate.report
    if report is None:
        return
    yield (
        f"Episodes of candidate {candidate.key} last {number(report.episode_length)} steps on "
        "average; "
        f"{percent(report.terminated)} of them end before the time limit."
    )
    if report.unexamined:
        yield f"Its components and features could not be measured: {one_line(report.unexamined, 400)}"
    spec, fitness = history.spec, history.spec.task.fitness
    yield from terms_words(report, spec.design, spec.smoothness, fitness)
    yield episode_rows(report, fitness, hidden_names(fields_of(history)))


def terms_words(
    report: Report, design: Design, smoothness: Smoothness, fitness: Fitness
) -> Iterator[str]:
    """Write what was measured of each component, and of what the policy sees if that is designed."""
    lines = [_component(name, s, report.recorded) for name, s in report.components.items()]
    count = f"{report.recorded} " if report.recorded else ""
    told = any(told_by(s.correlation, report.recorded) for s in report.components.values())
    meaning = f"; {CORRELATION}" if told else ""
    yield _listed(
        f"Components (per step, over {count}recorded episodes of the trained policy{meaning})",
        lines,
    )
    if design != "reward":
        yield from input_sections(report, smoothness, fitness)


def _curves(history: History, candidate: Candidate) -> str:
    curve = thinned(fitness_curve(candidate))
    if not curve:
        return ""
    lines = [f"fitness: {', '.join(f'{step}: {number(value)}' for step, value in curve)}"]
    native = [list(run.checkpoints) for run in history.native if run.checkpoints]
    if native:
        middle = [
            (points[0][0], mean([v for _, v in points])) for points in zip(*native, strict=False)
        ]
        shown = ", ".join(f"{step}: {number(value)}" for step, value in thinned(middle))
        lines.append(f"fitness of the native reward: {shown}")
    return _listed(f"Curves of candidate {candidate.key} (environment steps: value)", lines)


def thinned(series: Sequence[tuple[int, float]], most: int = POINTS) -> list[tuple[int, float]]:
    """Return at most `most` evenly spaced items, the first and the last among them."""
    if len(series) <= most:
        return list(series)
    return [series[round(i * (len(series) - 1) / (most - 1))] for i in range(most)]


def _component(name: str, s: TermStatistics, episodes: int) -> str:
    told = told_by(s.correlation, episodes)
    correlation = "" if told is None else f", correlation with fitness {number(told)}"
    if told is not None and told < AGAINST and to_and_fro(s):
        correlation += " (it is won and lost again, and its sum tells how an episode began)"
    flags = component_flags(s, episodes)
    curve = f"; over training: {', '.join(map(number, s.by_checkpoint))}" if s.by_checkpoint else ""
    return (
        f"`{name}`: mean {number(s.mean)}, std {number(s.std)}, from {number(s.low)} to "
        f"{number(s.high)}, {percent(s.share)} of all that is paid, {_activity(s)}{correlation}{curve}"
        + (f" [{', '.join(flags)}]" if flags else "")
    )


def _activity(s: TermStatistics) -> str:
    """Say how often a component pays, and where it could give a direction and gives none."""
    if is_switch(s) and s.low < s.high:
        return f"has two values alone, active in {percent(1.0 - s.zero)} of the steps"
    rest = at_rest(s)
    stuck = s.saturated - rest
    words = [f"active in {percent(1.0 - rest)} of the steps"] if rest else []
    if stuck >= TELLING:
        words.append(
            f"at its other extreme in {percent(stuck)}"
            if rest
            else f"at an extreme in {percent(stuck)} of the steps"
        )
    if not rest and s.zero:
        words.append(f"zero in {percent(s.zero)}{'' if words else ' of the steps'}")
    return ", ".join(words) or "active in every step"


# --- as data ----------------------------------------------------------------------------------


def _data(history: History, iteration: Iteration, best: Candidate | None) -> Json:
    """Return the same facts for pages and programs; numbers are finite or None."""
    candidates = [
        {
            "key": c.key,
            "status": c.status,
            "operator": c.operator,
            "parents": list(c.parents),
            "fitness": search_fitness(c),
            "seeds": seed_fitness(c),
            "prediction": c.prediction,
            "claims": claims_data(score(history, c)),
        }
        for c in iteration.candidates
    ]
    hits, decided = tally(history)
    return {
        "candidates": candidates,
        "predictions": {"hit": hits, "decided": decided},
        "native_fitness": native_fitness(history),
        "random_fitness": history.preflight.random_fitness if history.preflight else None,
        "best_fitness": None if best is None else search_fitness(best),
        "components": _terms(best.report.components) if best and best.report else {},
        "features": _terms(best.report.features) if best and best.report else {},
        "inputs": _terms(best.report.inputs) if best and best.report else {},
    }


def _terms(terms: Mapping[str, TermStatistics]) -> Json:
    return {
        name: {**asdict(s), "by_checkpoint": list(s.by_checkpoint)} for name, s in terms.items()
    }
