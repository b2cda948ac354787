"""The designer that needs no model: a search over a typed grammar of reward terms and features.

It answers in the form that a model is asked for, so that everything after it is the same.  It is pure
and seeded: the same question has the same answer.  Of the fitness it
reads what a prompt tells: what is compared with what.

    words.py       words, numbers and units of a text
    quantities.py  what the fields offer: kinds, spans, landmarks
    wishes.py      what is asked of one quantity
    goals.py       the fitness as wishes
    reading.py     fitness and text as wishes about quantities
    terms.py       every kind of term and feature, as code
    grammar.py     terms put together, plain readings first
    breeding.py    refine, cross, different, other features
    parsing.py     a program back as a design
    writing.py     a design as a module and a reply
"""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from core.designers.evolution.breeding import (
    cross,
    different,
    factor_around_one,
    other_features,
    refine,
    vary_features,
)
from core.designers.evolution.grammar import Rng, draw_features, seed_design
from core.designers.evolution.parsing import read_design, with_features, with_numbers
from core.designers.evolution.reading import Reading, read_task
from core.designers.evolution.terms import Design
from core.designers.evolution.writing import predict, write_module, write_reply
from core.records.asking import Ask, Brief, Reply
from core.records.measured import Preflight, Report
from core.records.programs import Program
from core.records.rounds import Candidate
from core.records.task import Task

__all__ = ["EvolutionDesigner"]

_TRIES = 12  # draws until a program is none of the history's


class EvolutionDesigner:
    """Search without a model; `answer` is a pure function of the question's brief."""

    name = "evolution"

    def __init__(self) -> None:
        """Nothing has been read yet."""
        self._lock = threading.Lock()
        self._last: tuple[Task, Preflight | None, Reading] | None = None

    def answer(self, ask: Ask) -> Reply:
        """Write a program for the brief.  Reads its task's text, fields and fitness.

        An analysis is answered with nothing: a search has no words for it.
        """
        if ask.brief.kind == "analysis":
            return Reply("", outcome="empty", model="evolution")
        reading = self._reading(ask.brief)
        if not reading.wishes:
            detail = "no field is visible to the reward, so there is nothing to make a program of"
            return Reply("", outcome="empty", detail=detail, model="evolution")
        known = {c.program.source for c in ask.brief.history if c.program is not None}
        for attempt in range(_TRIES):
            rng = _stream(ask, attempt)
            written = _module(ask, reading, rng)
            if written is None:
                detail = "no field is visible to the policy, so there are no features to make"
                return Reply("", outcome="empty", detail=detail, model="evolution")
            module, idea, prediction = written
            if module not in known:
                break
        text = write_reply(module, prediction, f"Idea: {idea}.", reading)
        return Reply(text, outcome="answered", model="evolution", finish_reason="stop")

    def _reading(self, brief: Brief) -> Reading:
        """Read the task once for a step, whose briefs have equal tasks and the same preflight."""
        task, preflight = brief.task, brief.preflight
        with self._lock:
            if self._last is None or self._last[0] != task or self._last[1] is not preflight:
                self._last = task, preflight, _read(brief)
            return self._last[2]


def _read(brief: Brief) -> Reading:
    task, preflight = brief.task, brief.preflight
    fields = task.fields or (preflight.fields if preflight is not None else ())
    return read_task(
        task.description,
        fields,
        preflight.quantiles if preflight is not None else {},
        fitness=task.fitness,
        actions=task.actions,
        action=preflight.action if preflight is not None else None,
    )


def _stream(ask: Ask, attempt: int) -> Rng:
    """Return the random stream of a question; it depends on nothing but its key and the job's seed."""
    key = (abs(ask.brief.seed), ask.iteration, ask.slot, ask.attempt, attempt)
    return np.random.default_rng(np.random.SeedSequence(key))


def _module(ask: Ask, reading: Reading, rng: Rng) -> tuple[str, str, str] | None:
    """Return the module, what was done, and what is expected of it; None where nothing can be made."""
    brief = ask.brief
    parents = [p for p in brief.parents if p.program is not None]
    bred = brief.operator in ("refine", "cross", "features", "parameters")
    if parents and bred and _designed(parents[0], brief):
        foreign = _foreign(parents[0], ask, reading, rng)
        if foreign is not None:
            return foreign
    design, idea = _design(ask, parents, reading, rng)
    if not design.terms and not design.features:
        return None
    return write_module(design), idea, predict(design)


def _designed(parent: Candidate, brief: Brief) -> bool:
    """Tell whether a program holds nothing but what the job designs; the user's own may hold more."""
    program = parent.program
    assert program is not None  # only such parents are asked about
    surplus = {"reward": program.has_features, "features": program.has_reward}
    return not surplus.get(brief.design, False)


def _foreign(
    parent: Candidate, ask: Ask, reading: Reading, rng: Rng
) -> tuple[str, str, str] | None:
    """Change what can be changed of a program in another form: its numbers, or its features."""
    program, brief = parent.program, ask.brief
    if program is None or (brief.operator != "parameters" and read_design(program) is not None):
        return None
    if brief.operator == "features":
        drawn = draw_features(reading, rng)
        if not drawn:
            return None
        idea = f"the reward of {parent.key} stays as it is; the state is represented otherwise"
        return with_features(program, drawn), idea, predict(Design((), drawn))
    source = with_numbers(program, lambda name, value: _moved(program, name, value, rng))
    if source is None:
        return None
    idea = f"the code of {parent.key} stays as it is; only its numbers are moved"
    return source, idea, "fitness better than native"


def _moved(program: Program, name: str, value: float, rng: Rng) -> float:
    low, high = program.bounds.get(name, (-np.inf, np.inf))
    return float(np.clip(value * factor_around_one(rng, 0.4), low, high))


def _design(ask: Ask, parents: list[Candidate], reading: Reading, rng: Rng) -> tuple[Design, str]:
    """Return a design that keeps to what the job designs."""
    brief = ask.brief
    if brief.design == "features":
        return _representation(ask, parents, reading, rng)
    design, idea = _joint(ask, parents, reading, rng)
    if brief.design == "reward":
        design = replace(design, features=())
    return design, idea


def _representation(
    ask: Ask, parents: list[Candidate], reading: Reading, rng: Rng
) -> tuple[Design, str]:
    """Draw features alone: afresh, or the parents' with one put in or taken out."""
    designs = [d for p in parents if p.program and (d := read_design(p.program)) is not None]
    if designs and ask.brief.operator in ("refine", "cross"):
        return vary_features(designs, reading, rng), "features alone; one of them is changed"
    drawn = draw_features(reading, rng, rich=True)
    return Design((), drawn), "features alone; the native reward stays"


def _joint(ask: Ask, parents: list[Candidate], reading: Reading, rng: Rng) -> tuple[Design, str]:
    brief = ask.brief
    designs = [(p, d) for p in parents if p.program and (d := read_design(p.program)) is not None]
    if brief.operator == "different":
        return different(brief.history, reading, rng)
    if brief.operator == "features" and not designs and brief.mode == "add":
        return _features_alone(reading, rng)
    if not designs or brief.operator == "seed":
        return _seeded(ask, reading, rng)
    parent, design = designs[0]
    report = parent.report or Report()
    if brief.operator == "features":
        return other_features(design, reading, rng)
    if brief.operator == "cross" and len(designs) > 1:
        return cross(design, designs[1][1], rng)
    changed, notes = refine(design, report.components, reading, rng, report.features)
    for _ in range(ask.attempt):  # what came out before was broken, or too much like its parent
        changed, more = refine(changed, {}, reading, rng)
        notes = f"{notes}; {more}"
    return changed, f"{parent.key} is refined: {notes}"


def _seeded(ask: Ask, reading: Reading, rng: Rng) -> tuple[Design, str]:
    """Draw afresh; after a failed check, or where the history has it already, one step freer."""
    design = seed_design(reading, ask.slot + ask.attempt, rng)
    plain = "the plainest reading of the text" if ask.slot + ask.attempt == 0 else "another reading"
    names = ", ".join(term.name for term in design.terms)
    return design, f"{plain}, with the components {names}"


def _features_alone(reading: Reading, rng: Rng) -> tuple[Design, str]:
    features = draw_features(reading, rng)
    if not features:
        return seed_design(
            reading, 0, rng
        ), "nothing to represent otherwise; a plain reward instead"
    return Design((), features), "features alone; the native reward stays"
