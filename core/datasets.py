"""What a job teaches a designer: its questions and answers, with the fitness that they led to.

Rows are those that trl reads in conversational form: `sft` (prompt, completion), `dpo` (prompt, chosen,
rejected) and groups for GRPO (prompt, completions, rewards).  All completions of a prompt answer the
very same question; an attempt that had to be repaired is a worse answer to it than the repaired one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

from core.choosing import native_fitness
from core.records.asking import Exchange, Prompt
from core.records.history import History
from core.records.outcome import Interval
from core.records.rounds import Candidate
from core.statistics import bootstrap_interval, mean
from core.words import without_answer_number

Format: TypeAlias = Literal["sft", "dpo", "grpo"]
Row: TypeAlias = Mapping[str, object]

FEWEST_RUNS = 2  # one run has no interval
TEST, VALIDATION = 10, 20  # per cent of the tasks, counted together


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to a prompt.

    Attributes:
        text:    of the reply.
        by_rung: rung -> fitness of each run there; empty where the answer gave no sound program, or one
            that could not be trained.
        model:   that wrote it.
    """

    text: str
    by_rung: Mapping[int, tuple[float, ...]]
    model: str
    candidate: str

    @property
    def fitness(self) -> float | None:
        """The mean at the highest rung; None for an answer that came to nothing."""
        return mean(self.by_rung[max(self.by_rung)]) if self.by_rung else None


@dataclass(frozen=True, slots=True)
class Group:
    """All answers to one question, in the order of slots and attempts."""

    prompt: Prompt
    iteration: int
    completions: tuple[Completion, ...]


def rows_of(
    job: str, history: History, exchanges: Sequence[Exchange], form: Format
) -> Iterator[Row]:
    """Yield the rows that one job gives.

    Args:
        job:       its id.
        history:   its facts.
        exchanges: all of them, in order of their natural key.
        form:      `sft`: per question the best answer whose program beat the native reward.
            `dpo`: pairs of answers to a question, where both were measured and their intervals do not
            touch at the highest rung that both reached, or where one is invalid, which always loses.
            `grpo`: all answers to a question with a reward each, where there are at least two.
    """
    writers = {"sft": _sft, "dpo": _dpo, "grpo": _grpo}
    task = history.spec.task.name
    about = {"job": job, "task": task, "method": history.spec.method, "split": split_of(task)}
    for group in groups_of(history, exchanges):
        for row in writers[form](group, history):
            yield {**row, **about, "iteration": group.iteration}


def split_of(task: str) -> str:
    """Return train, validation or test; all designs of a task are on the same side, everywhere.

    >>> split_of("pendulum") == split_of("pendulum")
    True
    """
    place = int.from_bytes(hashlib.sha256(task.encode()).digest()[:8], "big") % 100
    return "test" if place < TEST else "validation" if place < VALIDATION else "train"


def groups_of(history: History, exchanges: Sequence[Exchange]) -> list[Group]:
    """Gather the answers by question; turns that yield no program are left out."""
    candidates = {(c.iteration, c.number): c for i in history.iterations for c in i.candidates}
    slots: dict[tuple[int, int], list[Exchange]] = {}
    for exchange in exchanges:
        if exchange.kind == "program":
            slots.setdefault((exchange.iteration, exchange.slot), []).append(exchange)
    gathered: dict[tuple[int, Prompt], list[Completion]] = {}
    for place, attempts in slots.items():
        candidate = candidates.get(place)
        if candidate is None:
            continue  # still under way, so that nothing is known of the last answer
        # The turns of a repair are no part of the question.
        question = (place[0], _unnumbered(attempts[0].prompt))
        gathered.setdefault(question, []).extend(_completions(attempts, candidate))
    return [Group(prompt, n, _distinct(found)) for (n, prompt), found in gathered.items()]


def _unnumbered(prompt: Prompt) -> Prompt:
    """Drop which answer of how many was asked for: apart from that, slots are asked the same."""
    told = ((role, without_answer_number(text)) for role, text in prompt.messages)
    return Prompt(tuple(told))


def _completions(attempts: Sequence[Exchange], candidate: Candidate) -> Iterator[Completion]:
    for exchange in attempts:
        last = exchange is attempts[-1]
        if not exchange.reply.text.strip() or (last and _undecided(candidate)):
            continue  # an endpoint that gave nothing says nothing of the model
        measured = _measured(candidate) if last else {}
        yield Completion(exchange.reply.text, measured, exchange.reply.model, candidate.key)


def _undecided(candidate: Candidate) -> bool:
    """Tell whether a candidate is neither measured nor invalid: waiting, screened, or known already."""
    known = any(check.rule == "duplicate" and not check.passed for check in candidate.checks)
    return known or candidate.status in ("proposed", "screened")


def _measured(candidate: Candidate) -> dict[int, tuple[float, ...]]:
    by_rung: dict[int, list[float | None]] = {}
    for run in candidate.runs:
        by_rung.setdefault(run.rung, []).append(run.fitness)
    if any(value is None for values in by_rung.values() for value in values):
        return {}
    return {rung: tuple(v for v in values if v is not None) for rung, values in by_rung.items()}


def _distinct(completions: Sequence[Completion]) -> tuple[Completion, ...]:
    return tuple({c.text: c for c in reversed(completions)}.values())[::-1]


# --- the three forms --------------------------------------------------------------------------


def _sft(group: Group, history: History) -> Iterator[Row]:
    native = native_fitness(history)
    scored = [(f, c) for c in group.completions if (f := c.fitness) is not None]
    if native is None or not scored:
        return
    fitness, best = max(scored, key=lambda pair: pair[0])
    if fitness > native:
        told = {"fitness": fitness, "native": native, "model": best.model}
        yield {"prompt": _messages(group.prompt), "completion": _said(best), **told}


def _dpo(group: Group, history: History) -> Iterator[Row]:
    for one, other in combinations(group.completions, 2):
        pair = _ordered(one, other)
        if pair is not None:
            chosen, rejected = pair
            yield {
                "prompt": _messages(group.prompt),
                "chosen": _said(chosen),
                "rejected": _said(rejected),
                "chosen_fitness": chosen.fitness,
                "rejected_fitness": rejected.fitness,
                "model": chosen.model,
            }


def _ordered(one: Completion, other: Completion) -> tuple[Completion, Completion] | None:
    """Return the better and the worse of two answers, None where the measurements do not tell."""
    if not one.by_rung or not other.by_rung:
        if not one.by_rung and not other.by_rung:
            return None
        return (one, other) if one.by_rung else (other, one)
    shared = set(one.by_rung) & set(other.by_rung)
    if not shared:
        return None
    left, right = one.by_rung[max(shared)], other.by_rung[max(shared)]
    if min(len(left), len(right)) < FEWEST_RUNS:
        return None
    a, b = bootstrap_interval(left), bootstrap_interval(right)
    if _above(a, b):
        return one, other
    return (other, one) if _above(b, a) else None


def _above(a: Interval, b: Interval) -> bool:
    return a.low > b.high


def _grpo(group: Group, history: History) -> Iterator[Row]:
    if len(group.completions) < 2:
        return
    fitness = [c.fitness for c in group.completions]
    yield {
        "prompt": _messages(group.prompt),
        "completions": [_said(c) for c in group.completions],
        "rewards": rewards(fitness, history),
        "fitness": fitness,
        "models": [c.model for c in group.completions],
    }


def rewards(fitness: Sequence[float | None], history: History) -> list[float]:
    """Return a reward per answer: 0 for the random policy's fitness, 1 for the native reward's.

    Where the native reward led to less than chance, its own is −1.  Where these two are equal,
    differences stay in units of the fitness.  An invalid answer gets one less than the worst of the
    others, and at most −1.
    """
    floor = history.preflight.random_fitness if history.preflight else 0.0
    native = native_fitness(history)
    unit = abs(native - floor) if native is not None and native != floor else 1.0
    known = [None if f is None else (f - floor) / unit for f in fitness]
    worst = min([0.0, *(value for value in known if value is not None)]) - 1.0
    return [worst if value is None else value for value in known]


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in prompt.messages]


def _said(completion: Completion) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": completion.text}]
