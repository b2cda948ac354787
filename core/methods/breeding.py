"""What methods share in planning an iteration: the facts of a brief, and the order of parents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from core.diagnoses import seed_fitness
from core.loop import current_iteration, native_fitness, ranking, waiting_programs
from core.preferences import preference_scores
from core.records import (
    Brief,
    Candidate,
    Feedback,
    Given,
    History,
    Operator,
    Prompt,
    Remark,
)
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
        remarks=earlier_remarks(history),
        examples=history.examples,
        given=next(iter(new_starts(history)), None),
    )


def briefs_for_given(history: History, planned: Sequence[Brief]) -> tuple[Brief, ...]:
    """Write a brief for every waiting program of people's, in slots after those of the method.

    They are for nobody's pen: what they ask for is there already.
    """
    candidates = {c.key: c for c in earlier(history)}
    first = 1 + max((brief.slot for brief in planned), default=-1)
    return tuple(
        replace(
            brief_for(
                history, slot, "given", [candidates[k] for k in (given.parent,) if k in candidates]
            ),
            given=given,
        )
        for slot, given in enumerate(waiting_programs(history), first)
    )


def new_starts(history: History) -> tuple[Given, ...]:
    """Return the waiting programs that are to be improved; an edit speaks for its parent."""
    return tuple(given for given in waiting_programs(history) if given.origin != "edit")


def earlier_remarks(history: History) -> tuple[Remark, ...]:
    """Return what people said before the open iteration began; later words are for the next one."""
    number = current_iteration(history).number
    return tuple(remark for remark in history.remarks if remark.iteration < number)


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

    One lucky seed does not make a parent.  Where the job gives people's judgement a weight β, β times
    its score is added; it moves parents alone, never the verdict.
    """
    ranked = ranking(history)  # by mean; the sort is stable, so that ties stay in its order
    weight = history.spec.human_weight
    liked = preference_scores(history.remarks, [c.key for c in ranked]) if weight else {}
    return sorted(
        ranked, key=lambda c: -(lower_bound(seed_fitness(c)) + weight * liked.get(c.key, 0.0))
    )


def conversation(system: str, *turns: str) -> Prompt:
    """Put a prompt together: the system text, then user and assistant in turn."""
    roles = ("user", "assistant")
    told = tuple((roles[i % 2], turn) for i, turn in enumerate(turns))
    return Prompt((("system", system), *told))
