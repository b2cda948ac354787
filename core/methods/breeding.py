"""What methods share in planning an iteration: the facts of a brief, and the order of parents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from core.diagnoses import seed_fitness
from core.loop import current_iteration, native_fitness, ranking
from core.records import Brief, Candidate, Feedback, History, Operator, Prompt
from core.statistics import lower_bound


def brief_for(
    history: History, slot: int, operator: Operator, parents: Sequence[Candidate] = ()
) -> Brief:
    """Write the brief of one slot of the open iteration."""
    number = current_iteration(history).number
    spec, found = history.spec, history.preflight
    return Brief(
        task=replace(spec.task, fields=found.fields) if found else spec.task,
        iteration=number,
        slot=slot,
        operator=operator,
        mode=spec.mode,
        seed=slot_seed(spec.seed, number, slot),
        parents=tuple(parents),
        history=earlier(history),
        feedback=last_feedback(history),
        baseline=native_fitness(history),
        preflight=found,
        training=spec.training,
        weight=spec.weight if spec.mode == "add" else None,
    )


def slot_seed(seed: int, iteration: int, slot: int) -> int:
    """Return a seed of 31 bits that no other slot of the job has (but for chance)."""
    digest = hashlib.sha256(f"{seed}/{iteration}/{slot}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def earlier(history: History) -> tuple[Candidate, ...]:
    """Return the candidates of all closed iterations; what the open one holds plays no part."""
    return tuple(c for i in history.iterations if i.feedback is not None for c in i.candidates)


def closed(history: History) -> History:
    """Return the history without its open iteration."""
    return replace(
        history, iterations=tuple(i for i in history.iterations if i.feedback is not None)
    )


def last_feedback(history: History) -> Feedback | None:
    """Return the feedback of the last closed iteration."""
    known = [i.feedback for i in history.iterations if i.feedback is not None]
    return known[-1] if known else None


def by_lower_bound(history: History) -> list[Candidate]:
    """Return the candidates of the highest rung, best first by mean − standard error of fitness.

    One lucky seed does not make a parent.
    """
    ranked = ranking(history)  # by mean; the sort is stable, so that ties stay in its order
    return sorted(ranked, key=lambda c: -lower_bound(seed_fitness(c)))


def conversation(system: str, *turns: str) -> Prompt:
    """Put a prompt together: the system text, then user and assistant in turn."""
    roles = ("user", "assistant")
    told = tuple((roles[i % 2], turn) for i, turn in enumerate(turns))
    return Prompt((("system", system), *told))
