"""The desk: where a slot becomes a candidate, asked for, read, checked, and mended if need be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Event

from core.budgets import REFUSED, designer_limits
from core.choosing import rung_fitness
from core.context import native_reward
from core.errors import (
    ClaimLost,
    DesignerUnavailable,
    ProgramRejected,
    SandboxFailed,
    StepInterrupted,
    StorageFailed,
)
from core.failpoints import failpoint
from core.leaks import audit_prompt, refuse_leaks
from core.methods import Method, find_method
from core.orders import known_task
from core.ports import Designer, Filled, Ledger, News, Params
from core.prices import asks_a_model
from core.program import read_program, refuse_changed_reward, same_code, with_params
from core.purse import Purse, counted
from core.records.asking import Ask, Brief, Exchange, Prompt, Proposal, Repair, Reply
from core.records.history import History
from core.records.programs import Check, Program
from core.records.rounds import Candidate
from core.records.task import Task
from core.replies import read_reply
from core.rungs import reached
from core.screening import ProgramBench
from core.toolbox import Toolbox
from core.words import number

MOST_CHANGES = 3  # numbers of a tuned program that are told
MAX_REPAIRS = 2  # attempts beyond the first, per slot
TUNED_POINTS = 8  # proposed for a program at once; as many as there are slots are trained
DRAFT = 1_000  # number of the first point that is only compared with others
MOST_ANALYSIS = 6_000  # characters kept of an analysis turn


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the slots of one iteration are filled; shared by the threads of a Propose step.

    Attributes:
        given_up: set when the step ends, whatever its threads do by then.
        filled:   what cost nothing and is stored together when the step ends: a designer that asks
            no model would say the same again.
    """

    ledger: Ledger
    tools: Toolbox
    method: Method
    history: History
    designer: Designer
    paid: dict[tuple[int, int], Exchange]
    purse: Purse
    bench: ProgramBench
    given_up: Event = field(default_factory=Event)
    filled: list[Filled] = field(default_factory=list)

    def fill(self, brief: Brief) -> Candidate:
        """Bring one slot to its candidate, and store it or leave it with those that are `filled`."""
        before = list[Exchange | News]()
        if brief.operator == "parameters":
            candidate = self.tuned(brief)
        elif brief.operator == "given":
            candidate = self.handed(brief)
        else:
            try:
                candidate = self.written(brief, before)
            except (DesignerUnavailable, SandboxFailed):
                # What came of it stays to be looked at; what is told of it is told again.
                for exchange in [one for one in before if isinstance(one, Exchange)]:
                    self.ledger.add_exchange(exchange)
                raise
        if asks_a_model(self.designer.name):
            self.ledger.add_candidate(candidate, before)
        else:
            self.filled.append(Filled(candidate, tuple(before)))
        return candidate

    def in_order(self) -> list[Filled]:
        """Return what is filled, in the order of the slots, whichever was ready first."""
        return sorted(self.filled, key=lambda slot: slot.candidate.number)

    @contextmanager
    def keeping_filled(self) -> Iterator[None]:
        """Store what is filled, one by one, where the step cannot come to its end."""
        try:
            yield
        except (ClaimLost, StepInterrupted):
            raise
        except Exception:
            with suppress(StorageFailed):  # the database may be what broke
                for slot in self.in_order():
                    self.ledger.add_candidate(slot.candidate, slot.before)
            raise

    def written(self, brief: Brief, before: list[Exchange | News]) -> Candidate:
        """Ask, read and check; send a failure back to the designer at most MAX_REPAIRS times.

        What is left to be stored with the candidate is appended to `before`: exchanges that cost
        nothing (asked again after a worker's death, the designer says the same), and what is told of
        them.
        """
        candidate = _empty(brief)
        for attempt in range(1 + MAX_REPAIRS):
            exchange = self.exchange(brief, attempt)
            if isinstance(exchange, str):
                # A reply that only wanted mending keeps its own reason.
                return candidate if attempt else self.refused(candidate, exchange)
            if not self.is_stored(exchange):
                before.append(exchange)
            tokens, money = candidate.tokens + _tokens(exchange), candidate.money + exchange.money
            candidate = replace(self.read(brief, exchange), tokens=tokens, money=money)
            if attempt == MAX_REPAIRS or (problem := self.problem(candidate)) is None:
                break
            repaired = News(
                "candidate.repair",
                f"Candidate {candidate.key}, attempt {attempt + 1}: {problem}",
                {"iteration": brief.iteration, "slot": brief.slot, "attempt": attempt},
            )
            if asks_a_model(self.designer.name):  # seconds pass until the candidate is there
                # Once: an heir of this step reads the same answer, and comes here again.
                self.ledger.event(repaired.kind, repaired.message, repaired.data, once=True)
            else:
                before.append(repaired)
            repair = Repair(exchange.reply.text, problem, duplicate=_is_duplicate(candidate))
            brief = replace(brief, repair=repair)
        return candidate

    def refused(self, candidate: Candidate, why: str) -> Candidate:
        """Return the candidate of a slot for which the budget did not allow the question."""
        check = Check(REFUSED, False, why, limits=designer_limits(self.purse.budget))
        return replace(_rejected(candidate, REFUSED, why), checks=(check,))

    def problem(self, candidate: Candidate) -> str | None:
        """Say what goes back to the designer: why it was rejected, or what it is a duplicate of."""
        if candidate.status == "rejected":
            return candidate.rejection or ""
        return self.bench.problem(candidate)

    def exchange(self, brief: Brief, attempt: int) -> Exchange | str:
        """Ask the designer, unless the answer was already paid for before a worker died.

        Returns:
            the exchange, stored if it cost anything; or, where a budget does not allow it, why nobody
            was asked.
        """
        if (stored := self.paid.get((brief.slot, attempt))) is not None:
            return stored
        prompt = self.method.render(brief)
        self.audit(brief, prompt)
        advice = self.method.temperatures.get(brief.operator)
        question = Ask(brief.iteration, brief.slot, attempt, brief, prompt, advice, self.given_up)
        if not asks_a_model(self.designer.name):
            return self.ask(question)
        model = self.model(brief)
        if (cap := self.purse.set_aside(prompt, model)) is not None:
            return f"The designer was not asked: the job's budget of {cap} does not allow it."
        here = (brief.iteration, brief.slot, attempt)
        self.ledger.reserve(*here, *self.purse.expected(prompt, model))
        try:
            exchange = self.ask(question)
        except DesignerUnavailable as error:
            if not error.maybe_paid:
                self.purse.settle(prompt, 0, 0.0, model)
                self.ledger.unreserve(*here)
            raise
        self.ledger.add_exchange(exchange)
        failpoint("ask.stored")
        if self.given_up.is_set():
            raise StepInterrupted("The step has ended; the answer is stored for whoever goes on.")
        self.wonder(brief, exchange.reply)
        self.purse.settle(prompt, _tokens(exchange), exchange.money, model)
        return exchange

    def is_stored(self, exchange: Exchange) -> bool:
        """Tell whether `exchange` has stored it: what cost nothing is left to whoever asked."""
        here = (exchange.slot, exchange.attempt)
        return asks_a_model(exchange.designer) or here in self.paid

    def model(self, brief: Brief) -> str:
        """Return the name of the model that a brief is for: that of its arm, or the job's."""
        named = brief.variant.model if brief.variant else None
        return named or self.purse.model

    def ask(self, ask: Ask) -> Exchange:
        """Ask the designer; return what it answered and what that cost."""
        failpoint("ask.reserved")
        reply, money = self.designer.answer(ask), 0.0
        failpoint("ask.answered")
        if asks_a_model(self.designer.name):
            reply = replace(reply, usage=counted(reply.usage, ask.prompt, reply.text))
            money = self.price(ask.brief, reply) or 0.0
        return Exchange(
            *(ask.iteration, ask.slot, ask.attempt, ask.prompt, reply, self.designer.name),
            kind=ask.brief.kind,
            money=money,
        )

    def analysed(self, brief: Brief) -> str:
        """Ask for an analysis and return its words; none where the designer gave no usable ones."""
        exchange = self.exchange(brief, 0)
        if isinstance(exchange, str):  # no budget for it
            return ""
        if not self.is_stored(exchange):
            self.ledger.add_exchange(exchange)
        reply = exchange.reply
        return reply.text.strip()[:MOST_ANALYSIS] if reply.outcome == "answered" else ""

    def audit(self, brief: Brief, prompt: Prompt) -> None:
        """Refuse a prompt that shows what no designer may see.

        Raises:
            PromptLeak: with what it shows.
        """
        preflight, task = self.history.preflight, self.task
        native = native_reward(preflight.source if preflight else "")
        told = (task.description, task.actions)
        written = [*written_by_designers(brief, self.history), *written_by_people(brief)]
        refuse_leaks(audit_prompt(prompt, task.fields, native, written=written, told=told))

    def price(self, brief: Brief, reply: Reply) -> float | None:
        """Return what a reply cost; None where no price is known."""
        # An endpoint answers with a model's full name, or with a name of its own for what was asked.
        prices, asked = self.purse.prices, self.model(brief)
        money = prices.money(reply.model or asked, reply.usage)
        return prices.money(asked, reply.usage) if money is None else money

    def wonder(self, brief: Brief, reply: Reply) -> None:
        """Tell once of every model that its price is not known."""
        model = reply.model or self.model(brief)
        if self.price(brief, reply) is None and self.purse.wonder(model):
            self.ledger.event(
                "designer.unpriced",
                f"The price of the model {model!r} is not known, and its cost counts as 0; add it to "
                "the table that REWARDSMITH_PRICES names.",
                {"model": model},
                level="warning",
            )

    def read(self, brief: Brief, exchange: Exchange) -> Candidate:
        """Turn a reply into a candidate: with a sound program, or with a rejection."""
        candidate = _empty(brief)
        if exchange.reply.outcome != "answered":
            return _rejected(candidate, "reply", _why_unread(exchange))
        try:
            proposal = read_reply(exchange.reply.text, brief.design)
            candidate = _with_words(candidate, proposal)
            task = self.task
            program = read_program(
                proposal.source, task.fields, brief.mode, task.array, brief.design
            )
            if brief.operator == "features" and (before := brief.parents[:1]):
                _hold_to_reward(program, before[0])
        except ProgramRejected as error:
            return _rejected(candidate, error.rule, str(error))
        return self.checked(replace(candidate, program=program))

    def checked(self, candidate: Candidate) -> Candidate:
        """Hold a program to the contract in the sandbox, and refuse what is already known."""
        program = candidate.program
        assert program is not None  # its reader made one
        rules = (Check("rules", True),)
        try:
            refuse_duplicate(program, self.history)
            candidate = replace(candidate, walls=self.tools.laboratory.walls())
            shape = self.bench.check(candidate, self.task)
        except ProgramRejected as error:
            return replace(_rejected(candidate, error.rule, str(error)), program=program)
        return replace(
            candidate, status="proposed", shape=shape, checks=(*rules, Check("contract", True))
        )

    def tuned(self, brief: Brief) -> Candidate:
        """Give the parent's code new numbers, without a designer.

        What is known of its numbers is compared where the parent stands, which is not the last rung in
        a job in which nobody got so far.
        """
        parent = brief.parents[0]
        assert parent.program is not None  # only trained candidates are parents
        rung = reached(parent)
        trials = [
            (dict(c.program.params), fitness)
            for c in brief.history
            if c.program is not None
            and c.program.sha256 == parent.program.sha256
            and (fitness := rung_fitness(c, rung)) is not None
        ]
        program = self.tuner_choice(brief, parent.program, trials)
        candidate = replace(
            _empty(brief),
            program=program,
            analysis=f"The code of candidate {parent.key} with other numbers, chosen by the tuner: "
            f"{changed_numbers(parent.program.params, program.params)}.",
        )
        return self.checked(candidate)

    def tuner_choice(
        self, brief: Brief, program: Program, trials: Sequence[tuple[Params, float]]
    ) -> Program:
        """Return the program with the numbers of this slot.

        The tuner proposes more points than there are slots for this program, once for all of them;
        those are trained that pay stored episodes most nearly in the order of their fitness, and no
        copy of what is known.  Every slot, in whatever process, comes to the same points and takes
        its own.
        """
        same = [
            other.slot
            for other in self.method.briefs(self.history)
            if other.operator == "parameters" and other.parents[0].key == brief.parents[0].key
        ]
        seed = self.history.spec.seed * 1_000 + brief.iteration
        points = self.tools.tuner(trials, program.bounds, seed, max(TUNED_POINTS, len(same)))
        drafts = [
            # Numbers that no candidate has: these are compared with each other and never stored.
            replace(_empty(brief), number=DRAFT + place, program=with_params(program, params))
            for place, params in enumerate(points)
        ]
        chosen = self.bench.by_worth(drafts)[same.index(brief.slot)].program
        assert chosen is not None  # every draft has one
        return chosen

    def handed(self, brief: Brief) -> Candidate:
        """Take a program of people's as it is: nobody is asked, and nothing is repaired."""
        given = brief.given
        assert given is not None  # its brief was written for it
        candidate = replace(
            _empty(brief), operator="given", analysis=given.note, given=given.number
        )
        try:
            program = read_program(given.source, self.task.fields, brief.mode, self.task.array)
        except ProgramRejected as error:
            return _rejected(candidate, error.rule, str(error))
        return self.checked(replace(candidate, program=program))

    @property
    def task(self) -> Task:
        """Return the task with the fields that preflight found."""
        return known_task(self.history)


def new_desk(
    ledger: Ledger,
    tools: Toolbox,
    history: History,
    paid: dict[tuple[int, int], Exchange],
    bench: ProgramBench,
) -> Desk:
    """Put together what a step needs that asks the designer."""
    spec = history.spec
    purse = Purse(spec.budget, history.spent, tools.prices, spec.designer.model or tools.model)
    method = find_method(spec.method)
    return Desk(ledger, tools, method, history, tools.designer(spec), paid, purse, bench)


# --- candidates ----------------------------------------------------------------------------


def _empty(brief: Brief) -> Candidate:
    """Return the candidate of a slot before there is anything to it."""
    parents = tuple(parent.key for parent in brief.parents)
    arm = brief.variant.name if brief.variant else None
    return Candidate(
        brief.iteration, brief.slot, brief.operator, "rejected", parents=parents, arm=arm
    )


def _with_words(candidate: Candidate, proposal: Proposal) -> Candidate:
    return replace(candidate, analysis=proposal.analysis, prediction=proposal.prediction)


def _rejected(candidate: Candidate, rule: str, message: str) -> Candidate:
    check = Check(rule, False, message)
    return replace(candidate, status="rejected", rejection=message, checks=(check,))


def changed_numbers(before: Params, after: Params) -> str:
    """Say which numbers changed, those first that changed most.

    >>> before = {"hold": 1.0, "calm": 0.1, "wide": 2.0}
    >>> changed_numbers(before, {"hold": 1.2, "calm": 0.3, "wide": 2.0})
    'calm 0.1 to 0.3, hold 1 to 1.2'
    """
    changes = {
        name: abs(value - before[name]) / max(abs(value), abs(before[name]))
        for name, value in after.items()
        if value != before[name]
    }
    ranked = sorted(changes, key=lambda name: -changes[name])
    told = [f"{name} {number(before[name])} to {number(after[name])}" for name in ranked]
    left = len(told) - MOST_CHANGES
    return ", ".join([*told[:MOST_CHANGES], *([f"and {left} more"] if left > 0 else [])])


def _is_duplicate(candidate: Candidate) -> bool:
    """Tell whether what goes back is a copy; a sound program goes back for nothing else."""
    return candidate.status != "rejected" or candidate.checks[-1].rule == "duplicate"


def _why_unread(exchange: Exchange) -> str:
    reply = exchange.reply
    reasons = {
        "truncated": "The reply was cut off at the length limit before the program was complete. "
        "Answer more briefly: a short analysis, the prediction, one code block.",
        "empty": "The reply was empty. Answer with an analysis, a prediction and one code block.",
        "refused": "The model refused to answer.",
        "garbage": "The endpoint's answer was not a chat completion.",
    }
    return " ".join(filter(None, (reasons.get(reply.outcome, "No reply came."), reply.detail)))


def refuse_duplicate(program: Program, history: History) -> None:
    """Refuse a program that is already known, numbers included; its layout does not matter.

    Raises:
        ProgramRejected: with the key of the candidate that has the same program.
    """
    for iteration in history.iterations:
        for other in iteration.candidates:
            if other.program is None or other.status == "rejected":
                continue
            if same_code(other.program, program):
                raise ProgramRejected(
                    f"the same program as candidate {other.key}",
                    rule="duplicate",
                    expected="a program that has not been tried",
                )


def _hold_to_reward(program: Program, parent: Candidate) -> None:
    """Refuse another reward where the features alone were to be changed."""
    if parent.program is not None and parent.program.has_reward:
        refuse_changed_reward(program, parent.program)


def _tokens(exchange: Exchange) -> int:
    usage = exchange.reply.usage
    return (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)


# --- what a prompt may repeat ------------------------------------------------------------------


def written_by_designers(brief: Brief, history: History) -> list[str]:
    """Return the designer's own texts that a prompt may repeat: replies, programs and ideas."""
    found = [] if brief.repair is None else [brief.repair.reply, brief.repair.message]
    found += brief.analyses
    for candidate in (c for iteration in history.iterations for c in iteration.candidates):
        found += [candidate.analysis, candidate.prediction, candidate.rejection or ""]
        if candidate.program is not None:
            found.append(candidate.program.source)
    return found


def written_by_people(brief: Brief) -> list[str]:
    """Return what people said and handed in, which a prompt may repeat.

    A remark cannot be taken back: one that names what only the metric sees must not stop the job.
    """
    found = [remark.text for remark in brief.remarks]
    if brief.variant is not None:
        found.append(brief.variant.leaning)
    if brief.given is not None:
        found += [brief.given.source, brief.given.note]
    for example in brief.examples:
        found += [example.description, example.source, example.evidence]
    return found
