"""The winner without each of its terms in turn: which there are, and what their arms are called.

An arm's program is the winner's own code; the trainer, and not the code, leaves the term out, so that
nothing else can change with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from core.budgets import MOST_ABLATED
from core.records.kinds import TermKind
from core.records.measured import TermStatistics
from core.records.programs import Program
from core.records.rounds import Candidate


def ablated_arms(winner: Candidate) -> dict[str, tuple[TermKind, str]]:
    """Return arm key -> the term that it leaves out, those that count most first.

    A reward's only component is not left out, for nothing would be left to train on.

    >>> from core.records.programs import ProgramShape
    >>> shape = ProgramShape(("near", "calm"), ("energy",), 1.0)
    >>> list(ablated_arms(Candidate(0, 1, "seed", "trained", shape=shape)))
    ['without-component-near', 'without-component-calm', 'without-feature-energy']
    """
    shape, report = winner.shape, winner.report
    if shape is None:
        return {}
    components = _by_weight(shape.components, report.components if report else {}, "share")
    features = _by_weight(shape.features, report.features if report else {}, "used")
    terms: list[tuple[TermKind, str]] = []
    if len(components) > 1:
        terms += [("component", name) for name in components]
    terms += [("feature", name) for name in features]
    return {arm_key(kind, name): (kind, name) for kind, name in terms[:MOST_ABLATED]}


def arm_key(kind: TermKind, name: str) -> str:
    """Return the key of the arm that leaves a term out."""
    return f"without-{kind}-{name}"


def without(program: Program, kind: TermKind, name: str) -> Program:
    """Return the program with one more term left out by whoever calls it."""
    return replace(program, left_out=(*program.left_out, (kind, name)))


def _by_weight(
    names: tuple[str, ...], known: Mapping[str, TermStatistics], by: str
) -> tuple[str, ...]:
    """Return the names by a statistic, largest first; in the program's order where it is unknown."""
    weights = {name: getattr(known[name], by) or 0.0 if name in known else 0.0 for name in names}
    return tuple(sorted(names, key=lambda name: -weights[name]))
