"""What methods share in planning an iteration: the facts of a brief, and the order of parents."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.bandit import variant_for
from core.choosing import native_fitness, ranking, search_fitness
from core.feedback import prediction_words
from core.fitness_words import seed_fitness
from core.once import once
from core.preferences import preference_scores
from core.records.asking import Brief
from core.records.history import History
from core.records.kinds import ANALYSIS_SLOT, Operator
from core.records.people import Given, Remark
from core.records.rounds import Candidate, Feedback
from core.records.spec import Variant
from core.rungs import reached, scored_values
from core.searching import current_iteration, waiting_programs
from core.statistics import lower_bound
from core.words import cut

SHORT_FEEDBACK = 3_000  # characters: the table of a usual iteration, and the first diagnoses


def brief_for(
    history: History, slot: int, operator: Operator, parents: Sequence[Candidate] = ()
) -> Brief:
    """Write the brief of one slot of the open iteration."""
    number = current_iteration(history).number
    spec, found = history.spec, history.preflight
    asked = operator not in ("parameters", "given") and slot != ANALYSIS_SLOT
    variant = variant_for(history, number, slot) if asked else None
    return Brief(
        task=replace(spec.task, fields=found.fields) if found else spec.task,
        iteration=number,
        slot=slot,
        operator=operator,
        mode=spec.mode,
        seed=slot_seed(spec.seed, number, slot),
        parents=tuple(parents),
        history=earlier(history),
        feedback=told(last_feedback(history), variant),
        baseline=native_fitness(history),
        native=tuple(scored_values(history.native) or ()),
        answer=slot + 1,  # of a method that asks the same in every slot
        answers=spec.candidates,
        predictions=_fulfilled_earlier(history),
        preflight=found,
        training=spec.training,
        weight=spec.weight if spec.mode == "add" else None,
        design=spec.design,
        smoothness=spec.smoothness,
        context=spec.context,
        remarks=earlier_remarks(history),
        examples=history.examples,
        given=next(iter(new_starts(history)), None),
        analyses=tuple(i.feedback.analysis for i in history.iterations if i.feedback is not None),
        native_report=history.native_report,
        variant=variant,
        screens=spec.screens,
    )


@once
def _fulfilled_earlier(history: History) -> Mapping[str, tuple[str, ...]]:
    return _fulfilled(history, earlier(history))


def _fulfilled(history: History, candidates: Sequence[Candidate]) -> Mapping[str, tuple[str, ...]]:
    """Return what became of the predictions of trained candidates, by key."""
    return {c.key: tuple(prediction_words(history, c)) for c in candidates if c.runs}


def told(feedback: Feedback | None, variant: Variant | None) -> Feedback | None:
    """Return the feedback as an arm tells it; it begins with the most important."""
    if feedback is None or variant is None or variant.feedback == "full":
        return feedback
    return replace(feedback, text=cut(feedback.text, SHORT_FEEDBACK))


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


def newest(history: History) -> Candidate | None:
    """Return the best candidate of the last iteration that scored any; None if none did.

    Methods that go on from where they stand refine this one, not the best of the job.
    """
    return next(iter(newest_first(history)), None)


def briefs_on_newest(history: History) -> tuple[Brief, ...]:
    """Ask for a first design, then in every slot to better the newest one."""
    before = newest(closed(history))
    operator: Operator = "seed" if before is None else "refine"
    parents = () if before is None else (before,)
    return tuple(brief_for(history, n, operator, parents) for n in range(history.spec.candidates))


def newest_first(history: History) -> list[Candidate]:
    """Return the scored candidates: the last iteration's first, its best in front."""
    scored = [c for i in history.iterations for c in i.candidates if search_fitness(c) is not None]
    return sorted(scored, key=lambda c: (-c.iteration, -fitness_or_lowest(c), c.number))


def best_of_rounds(candidates: Sequence[Candidate], before: int) -> list[Candidate]:
    """Return the best candidate with a program of each iteration before one, oldest first."""
    best: dict[int, Candidate] = {}
    for candidate in scored_first(candidates):
        if candidate.program is not None and candidate.iteration < before:
            best.setdefault(candidate.iteration, candidate)
    return [best[number] for number in sorted(best)]


def scored_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates best first, those without a fitness last, ties in order of their keys."""
    return sorted(candidates, key=lambda c: (-fitness_or_lowest(c), c.iteration, c.number))


def best_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates by the rule of `core.rungs.ranked`, with those that were stopped behind.

    Those without a fitness come last; see `core.fitness_words.BEST_FIRST`.
    """

    def place(candidate: Candidate) -> tuple[float, float, int, int]:
        number_ = (candidate.iteration, candidate.number)
        if search_fitness(candidate) is None:
            return (1.0, 0.0, *number_)
        return (-reached(candidate), -lower_bound(seed_fitness(candidate)), *number_)

    return sorted(candidates, key=place)


def fitness_or_lowest(candidate: Candidate) -> float:
    """Return a candidate's fitness, or minus infinity where it has none."""
    fitness = search_fitness(candidate)
    return float("-inf") if fitness is None else fitness


def elites(history: History, most: int = 10, of_a_line: int = 3) -> list[Candidate]:
    """Return the best candidates by lower bound, with at most so many of one line of descent."""
    parents = {c.key: c.parents[:1] for i in history.iterations for c in i.candidates}
    kept: list[Candidate] = []
    counts: Counter[str] = Counter()
    for candidate in by_lower_bound(history):
        root = _root(candidate.key, parents)
        if counts[root] < of_a_line and len(kept) < most:
            counts[root] += 1
            kept.append(candidate)
    return kept


def _root(key: str, parents: Mapping[str, tuple[str, ...]]) -> str:
    """Return the first ancestor along first parents; parents are always of earlier iterations."""
    while before := parents.get(key):
        key = before[0]
    return key


def analysis_brief(history: History, feedback: Feedback) -> Brief:
    """Write the brief of a turn that asks for an analysis of the iteration just measured."""
    number = feedback.iteration
    measured = next(i for i in history.iterations if i.number == number)
    return replace(
        brief_for(history, ANALYSIS_SLOT, "seed"),
        iteration=number,
        kind="analysis",
        feedback=feedback,
        history=(candidates := (*earlier(history), *measured.candidates)),
        predictions=_fulfilled(history, candidates),
    )
