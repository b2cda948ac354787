"""Small real classes in place of the outside world, for tests of the heart alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.errors import ProgramRejected
from core.ports import (
    Checked,
    Filled,
    FilmOrder,
    News,
    PackOrder,
    PackResult,
    Progress,
    Save,
    Screened,
    Screening,
    ScreenOrder,
    Watch,
    save_nothing,
)
from core.records.asking import Ask, Example, Exchange, Reply
from core.records.history import History
from core.records.kinds import FITNESS, NATIVE, Json
from core.records.measured import Preflight, Report, Rollout, Run, Saved, Walls
from core.records.outcome import Outcome
from core.records.programs import Program, ProgramShape
from core.records.rounds import Candidate, Feedback, Iteration
from core.records.spec import Training
from core.records.task import Task
from tests.builders import a_preflight, a_run

REPLY = """The point must move to the right and stay there.

Prediction: `near` rises towards 1.

```python
{source}
```
"""

SLED = """class Sled:
    def _get_obs(self):
        return self.state

    def step(self, action):
        self.state = self.state + action
        return self._get_obs(), -abs(self.state - 3.0), False, False, {}
"""


@dataclass
class MemoryLedger:
    """Facts in memory; what a store does, without one."""

    facts: History
    job_id: str = "job_test"
    paid: list[Exchange] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    rests: list[float] = field(default_factory=list)
    halfway: tuple[Saved, ...] = ()
    reserved: dict[tuple[int, int, int], tuple[int, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    library: tuple[Example, ...] = ()

    def history(self) -> History:
        return self.facts

    def exchanges(self, iteration: int) -> Sequence[Exchange]:
        return [exchange for exchange in self.paid if exchange.iteration == iteration]

    def beat(self, progress: Progress) -> None: ...

    def event(
        self,
        kind: str,
        message: str,
        data: Json | None = None,
        level: str = "info",
        *,
        once: bool = False,
    ) -> None:
        self.events.append((kind, message))

    def add_preflight(self, preflight: Preflight, told: Sequence[News] = ()) -> None:
        self.facts = replace(self.facts, preflight=preflight)
        self.events += [(one.kind, one.message) for one in told]

    def take_in(self) -> None:
        self.facts = replace(self.facts, importing=False, status="succeeded")

    def find_examples(self) -> Sequence[Example]:
        return self.library[: self.facts.spec.context.examples]

    def add_examples(self, examples: Sequence[Example]) -> None:
        self.facts = replace(self.facts, examples=tuple(examples))

    def add_exchange(self, exchange: Exchange) -> None:
        with self.lock:
            self._put(self._iteration(exchange.iteration))
        self.paid.append(exchange)
        self.events += [("designer.note", note) for note in exchange.reply.notes]
        self.reserved.pop((exchange.iteration, exchange.slot, exchange.attempt), None)

    def reserve(self, iteration: int, slot: int, attempt: int, tokens: int, money: float) -> None:
        self.reserved[iteration, slot, attempt] = (tokens, money)

    def unreserve(self, iteration: int, slot: int, attempt: int) -> None:
        del self.reserved[iteration, slot, attempt]

    def add_candidate(self, candidate: Candidate, before: Sequence[Exchange | News] = ()) -> None:
        for one in before:
            if isinstance(one, Exchange):
                self.add_exchange(one)
            else:
                self.event(one.kind, one.message)
        with self.lock:  # the slots of an iteration are filled by several threads
            iteration = self._iteration(candidate.iteration)
            candidates = sorted((*iteration.candidates, candidate), key=lambda c: c.number)
            self._put(replace(iteration, candidates=tuple(candidates)))

    def end_proposing(
        self,
        iteration: int,
        screened: Sequence[Screened] = (),
        filled: Sequence[Filled] = (),
    ) -> None:
        for slot in filled:
            self.add_candidate(slot.candidate, slot.before)
        self.add_screens(screened)
        self._put(replace(self._iteration(iteration), proposed=True))

    def add_screens(self, screened: Sequence[Screened]) -> None:
        decided = {one.candidate: one for one in screened}
        for iteration in self.facts.iterations:
            self._put(
                replace(
                    iteration,
                    candidates=tuple(
                        _with_screens(c, decided[c.key]) if c.key in decided else c
                        for c in iteration.candidates
                    ),
                )
            )

    def save(self, saved: Sequence[Saved]) -> None:
        self.halfway = tuple(saved)

    def saved(self) -> Sequence[Saved]:
        return self.halfway

    def add_runs(self, runs: Sequence[Run], reports: Mapping[str, Report]) -> None:
        by_stage = {"baseline": "native", "confirm": "confirmations", "ablation": "ablations"}
        by_stage["transfer"] = "transfers"
        for run in runs:
            name = "fitness_alone" if run.stage == "baseline" and run.arm == FITNESS else None
            if name := name or by_stage.get(run.stage):
                self.facts = replace(self.facts, **{name: (*getattr(self.facts, name), run)})
        if any(run.stage == "baseline" for run in runs):
            self.facts = replace(self.facts, native_report=reports.get(NATIVE))
        for iteration in self.facts.iterations:
            own = [run for run in runs if run.stage == "search"]
            candidates = tuple(
                replace(
                    c,
                    runs=(*c.runs, *(r for r in own if r.arm == c.key)),
                    report=reports.get(c.key, c.report),
                    status="trained" if any(r.arm == c.key for r in own) else c.status,
                )
                for c in iteration.candidates
            )
            self._put(replace(iteration, candidates=candidates))

    def add_feedback(self, feedback: Feedback, told: Sequence[News] = ()) -> None:
        self.events += [(one.kind, one.message) for one in told]
        self._put(replace(self._iteration(feedback.iteration), feedback=feedback))

    def add_rollouts(self, filmed: Sequence[Rollout]) -> None:
        self.facts = replace(self.facts, rollouts=(*self.facts.rollouts, *filmed))

    def finish(self, outcome: Outcome) -> None:
        self.facts = replace(self.facts, outcome=outcome, status="succeeded")

    def fail(self, reason: str, message: str, data: Json | None = None) -> None:
        self.facts = replace(self.facts, failure=f"{reason}: {message}", status="failed")

    def pause(self, reason: str) -> None:
        self.facts = replace(self.facts, pause_requested=True)
        self.events.append(("job.blocked", reason))

    def await_feedback(self, reason: str) -> None:
        self.facts = replace(self.facts, status="awaiting_feedback")

    def wait(self, seconds: float, reason: str) -> None:
        self.rests.append(seconds)

    def _iteration(self, number: int) -> Iteration:
        known = {iteration.number: iteration for iteration in self.facts.iterations}
        return known.get(number, Iteration(number))

    def _put(self, iteration: Iteration) -> None:
        others = [i for i in self.facts.iterations if i.number != iteration.number]
        ordered = tuple(sorted((*others, iteration), key=lambda i: i.number))
        self.facts = replace(self.facts, iterations=ordered)


def _with_screens(candidate: Candidate, screened: Screened) -> Candidate:
    status = "screened" if screened.dropped else candidate.status
    return replace(
        candidate, status=status, screens=screened.screens, saved_steps=screened.saved_steps
    )


@dataclass
class ScriptedDesigner:
    """Answers from a list by (iteration, slot, attempt); remembers what it was asked."""

    script: Callable[[Ask], Reply | str]
    name: str = "scripted"
    asked: list[Ask] = field(default_factory=list)

    def answer(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        reply = self.script(ask)
        return Reply(reply, model="script") if isinstance(reply, str) else reply


@dataclass
class PretendLaboratory:
    """Scores every arm with a given function; trains nothing."""

    fitness: Callable[[str, int], float | None]
    refuse: Callable[[Program], str | None] = lambda program: None
    numbers: Callable[[ScreenOrder], Screening] = lambda order: Screening((), {})
    orders: list[PackOrder] = field(default_factory=list)
    films: list[FilmOrder] = field(default_factory=list)
    screen_test: Exception | None = None

    def preflight(
        self, task: Task, training: Training, seed: int, watch: Watch, *, source: bool = False
    ) -> Preflight:
        return a_preflight(source=SLED if source else "")

    def require_learner(self, learner: Json, watch: Watch) -> None:
        """Everything is there."""

    def walls(self) -> Walls:
        return Walls(3)

    def check(self, program: Program, task: Task, preflight: Preflight) -> ProgramShape:
        return self._shape(program)

    def check_and_screen(self, key: str, order: ScreenOrder) -> Checked:
        return Checked(self._shape(order.programs[key]), self.numbers(order))

    def screen(self, order: ScreenOrder, watch: Watch) -> Screening:
        return self.numbers(order)

    def train(self, order: PackOrder, watch: Watch, save: Save = save_nothing) -> PackResult:
        self.orders.append(order)
        watch(Progress("training", 0, 1))
        return PackResult(
            tuple(self._runs(order)), {a: Report() for a in order.arms if a != NATIVE}
        )

    def film(self, order: FilmOrder, watch: Watch) -> Rollout:
        self.films.append(order)
        if isinstance(self.screen_test, Exception):
            raise self.screen_test
        watch(Progress("filming", 0, 1))
        return Rollout(order.arm.key, order.episode, order.held_out[0], video="f" * 64)

    def _shape(self, program: Program) -> ProgramShape:
        if message := self.refuse(program):
            raise ProgramRejected(message, rule="shape")
        return ProgramShape(("near",), (), 0.1)

    def _runs(self, order: PackOrder) -> Iterator[Run]:
        for arm, seed in order.members:
            run = a_run(arm, self.fitness(arm, seed), seed=seed, rung=order.rung)
            yield replace(run, stage=order.stage, env_steps=order.stop_steps - order.start_steps)
