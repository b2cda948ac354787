"""How each step is carried out: read the facts, do one thing, write the facts.

`core/loop.py` says which step is wanted; a worker claims it and calls `carry_out`.  Nothing here keeps
state: what is known is in the ledger, and a step that is done twice stores its facts once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial

from core import loop
from core.ablation import ablated_arms, without
from core.bandit import with_posteriors
from core.budgets import REFUSED, learner_steps
from core.context import native_reward
from core.errors import (
    ConfigurationError,
    DesignerUnavailable,
    EnvironmentUnusable,
    InvalidInput,
    ProgramRejected,
    PromptLeak,
)
from core.estimates import after_preflight
from core.fitness import describe
from core.leaks import audit_prompt, refuse_leaks
from core.learners import read_learner, why_not_installed
from core.loop import Member, Step
from core.methods import Method, find_method
from core.methods.breeding import briefs_for_given
from core.outcome import decide, no_design
from core.packs import physics_threads
from core.ports import (
    Arm,
    Designer,
    Laboratory,
    Ledger,
    PackOrder,
    Params,
    Progress,
    Tuner,
    Watch,
)
from core.prices import Prices, asks_a_model
from core.program import read_program, refuse_changed_reward, same_code, with_params
from core.purse import Purse, counted
from core.records import (
    FITNESS,
    NATIVE,
    Ask,
    Brief,
    Candidate,
    Check,
    Exchange,
    History,
    Iteration,
    JobSpec,
    Program,
    Prompt,
    Proposal,
    Repair,
    Reply,
    Stage,
    Task,
)
from core.replies import read_reply
from core.rungs import rung_steps
from core.screening import ScreenBench

MAX_REPAIRS = 2  # attempts beyond the first, per slot
CONCURRENT_ASKS = 16
BEAT_SECONDS = 0.5
TUNED_POINTS = (
    8  # that the tuner proposes for a program at once; as many as there are slots are trained
)
DRAFT = 1_000
MOST_ANALYSIS = 6_000  # characters kept of an analysis turn

# Stand for an iteration where held-out seeds are drawn.
BASELINE, CONFIRMATION, ABLATION = -1, -2, -3


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The outside world, as a step may use it.

    Attributes:
        designer: makes the designer that a job asked for.
        laboratory: everything behind the sandbox's walls.
        held_out: (job id, iteration, rung, n) -> n secret seeds of evaluation episodes.
        tuner:    chooses other numbers for a program's PARAMS.
        prices:   of the models that designers ask.
        model:    that is asked where a job names none.
    """

    designer: Callable[[JobSpec], Designer]
    laboratory: Laboratory
    held_out: Callable[[str, int, int, int], tuple[int, ...]]
    tuner: Tuner
    prices: Prices = field(default_factory=Prices)
    model: str = ""


def carry_out(step: Step, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Do one claimed step.

    Args:
        step:   what to do.
        ledger: writes its facts, as long as the claim holds.
        tools:  the outside world.
        watch:  called about twice a second with the progress; renews the claim.

    Raises:
        ClaimLost, StepInterrupted: nothing more may be written; the next claim starts over.
        RewardsmithError: the system is broken, not the candidate.
    """
    match step:
        case loop.Preflight():
            preflight(ledger, tools, watch)
        case loop.Baseline():
            baseline(ledger, tools, watch)
        case loop.FitnessAlone():
            fitness_alone(ledger, tools, watch)
        case loop.Propose(iteration):
            propose(iteration, ledger, tools, watch)
        case loop.Train():
            train(step, ledger, tools, watch)
        case loop.Reflect(iteration):
            reflect(iteration, ledger, tools, watch)
        case loop.Await(iteration):
            await_feedback(iteration, ledger)
        case loop.Confirm() | loop.Transfer() | loop.Ablate() | loop.Finish():
            close(step, ledger, tools, watch)


# --- before the search ------------------------------------------------------------------------


def preflight(ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Build and probe the environment; a failure ends the job before a token is spent."""
    spec = ledger.history().spec
    wished = spec.evaluation.transfer
    if wished is not None and (missing := why_not_installed(read_learner(wished))) is not None:
        ledger.fail("invalid_input", missing)
        return
    try:
        found = tools.laboratory.preflight(
            spec.task, spec.training, spec.seed, watch, source=spec.context.source
        )
    except EnvironmentUnusable as error:
        ledger.fail("environment_unusable", str(error))
        return
    except InvalidInput as error:
        ledger.fail("invalid_input", str(error))
        return
    if spec.context.examples:
        ledger.add_examples(ledger.find_examples())
    ledger.add_preflight(replace(found, estimate=after_preflight(spec, found)))
    ledger.event("log", f"Fitness: {describe(spec.task.fitness, found.fields)}")


def baseline(ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train the native reward with the seeds and the budget that the candidates will get."""
    history = ledger.history()
    done = {run.seed for run in history.native}
    members = [(NATIVE, seed) for seed in loop.search_seeds(history) if seed not in done]
    last = len(history.spec.training.rungs) - 1
    order = pack_order(ledger, tools, history, members, "baseline", BASELINE, last)
    result = tools.laboratory.train(replace(order, start_steps=0), watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)
    failures = [run.failure for run in result.runs if run.status == "failed"]
    if len(failures) == len(result.runs):
        ledger.fail("baseline_failed", f"No baseline run could be trained: {failures[0]}")


def fitness_alone(ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train on the fitness alone, as the baseline; where that breaks, the job goes on without."""
    history = ledger.history()
    done = {run.seed for run in history.fitness_alone}
    members = [(FITNESS, seed) for seed in loop.search_seeds(history) if seed not in done]
    last = len(history.spec.training.rungs) - 1
    order = pack_order(ledger, tools, history, members, "baseline", BASELINE, last)
    result = tools.laboratory.train(replace(order, start_steps=0), watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


# --- one iteration ----------------------------------------------------------------------------


def propose(number: int, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Fill every open slot of an iteration with a candidate, sound or rejected with a reason."""
    history = ledger.history()
    method = find_method(history.spec.method)
    here = _iteration(history, number).candidates
    filled, taken = {c.number for c in here}, {c.given for c in here}
    planned = () if loop.plan_fulfilled(history) else method.briefs(history)
    handed = [
        b for b in briefs_for_given(history, planned) if b.given and b.given.number not in taken
    ]
    briefs = [brief for brief in (*planned, *handed) if brief.slot not in filled]
    paid = {(e.slot, e.attempt): e for e in ledger.exchanges(number)}
    bench = ScreenBench(history, tools.laboratory)

    def ask() -> None:
        desk = new_desk(ledger, tools, history, paid, bench)
        _in_threads([partial(desk.fill, brief) for brief in briefs], watch)

    if _asked(ask, ledger):
        screen(number, ledger, bench, watch)
        ledger.end_proposing(number)


def _asked(ask: Callable[[], None], ledger: Ledger) -> bool:
    """Ask the designer; tell whether it could answer.  If not, the step rests or the job is paused."""
    try:
        ask()
    except DesignerUnavailable as error:
        _designer_down(error, ledger)
        return False
    except (ConfigurationError, PromptLeak) as error:
        ledger.pause(str(error))
        return False
    return True


def screen(number: int, ledger: Ledger, bench: ScreenBench, watch: Watch) -> None:
    """Hold an iteration's sound candidates against what is known, before anything is trained.

    It waits until every slot is filled, because a candidate is dropped only if enough others stay.
    """
    candidates = _iteration(ledger.history(), number).candidates
    sound = [c for c in candidates if c.status == "proposed"]
    if bench.history.spec.screens and sound and not any(c.screens for c in candidates):
        ledger.add_screens(bench.judge(sound, watch))


def _in_threads(works: Sequence[Callable[[], None]], watch: Watch) -> None:
    """Run the works concurrently, keep the claim alive, and raise the first error in the end.

    What the other works were already waiting for is paid for, so they are waited for as well, unless
    `watch` says that nothing may be written any more.
    """
    if not works:
        return
    errors: list[BaseException] = []
    pool = ThreadPoolExecutor(min(CONCURRENT_ASKS, len(works)), thread_name_prefix="propose")
    try:
        waiting: set[Future[None]] = {pool.submit(work) for work in works}
        while waiting:
            done, waiting = wait(waiting, BEAT_SECONDS, return_when=FIRST_COMPLETED)
            errors += [error for future in done if (error := future.exception()) is not None]
            watch(Progress("proposing", len(works) - len(waiting), len(works)))
    finally:
        # An answer that is still on its way cannot be called back; its thread finds the claim gone.
        pool.shutdown(wait=False, cancel_futures=True)
    if errors:
        raise errors[0]


def _designer_down(error: DesignerUnavailable, ledger: Ledger) -> None:
    if error.retry_after_seconds is None:
        ledger.pause(str(error))  # a refused key, say: once it is mended, the job goes on
        return
    ledger.event("designer.unavailable", str(error), level="warning")
    ledger.wait(error.retry_after_seconds, str(error))


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the slots of one iteration are filled; shared by the threads of a Propose step."""

    ledger: Ledger
    tools: Toolbox
    method: Method
    history: History
    designer: Designer
    paid: dict[tuple[int, int], Exchange]
    purse: Purse
    bench: ScreenBench

    def fill(self, brief: Brief) -> None:
        """Bring one slot to its candidate and store it."""
        if brief.operator == "parameters":
            self.ledger.add_candidate(self.tuned(brief))
        elif brief.operator == "given":
            self.ledger.add_candidate(self.handed(brief))
        else:
            self.ledger.add_candidate(self.written(brief))

    def written(self, brief: Brief) -> Candidate:
        """Ask, read and check; send a failure back to the designer at most MAX_REPAIRS times."""
        candidate = _empty(brief)
        for attempt in range(1 + MAX_REPAIRS):
            exchange = self.exchange(brief, attempt)
            if isinstance(exchange, str):
                # A reply that only wanted mending keeps its own reason.
                return candidate if attempt else _rejected(candidate, REFUSED, exchange)
            tokens, money = candidate.tokens + _tokens(exchange), candidate.money + exchange.money
            candidate = replace(self.read(brief, exchange), tokens=tokens, money=money)
            if attempt == MAX_REPAIRS or (problem := self.problem(candidate)) is None:
                break
            self.ledger.event(
                "candidate.repair",
                f"Candidate {candidate.key}, attempt {attempt + 1}: {problem}",
                {"iteration": brief.iteration, "slot": brief.slot, "attempt": attempt},
            )
            repair = Repair(exchange.reply.text, problem)
            brief = replace(brief, repair=repair)
        return candidate

    def problem(self, candidate: Candidate) -> str | None:
        """Say what goes back to the designer: why it was rejected, or what it is a duplicate of."""
        if candidate.status == "rejected":
            return candidate.rejection or ""
        return self.bench.problem(candidate)

    def exchange(self, brief: Brief, attempt: int) -> Exchange | str:
        """Ask the designer, unless the answer was already paid for before a worker died.

        Returns:
            the exchange; or, where a budget does not allow it, why nobody was asked.
        """
        if (stored := self.paid.get((brief.slot, attempt))) is not None:
            return stored
        prompt = self.method.render(brief)
        self.audit(brief, prompt)
        advice = self.method.temperatures.get(brief.operator)
        question = Ask(brief.iteration, brief.slot, attempt, brief, prompt, advice)
        if not asks_a_model(self.designer.name):
            return self.ask(question)
        model = self.model(brief)
        if (cap := self.purse.set_aside(prompt, model)) is not None:
            return f"The designer was not asked: the job's budget of {cap} does not allow it."
        exchange = self.ask(question)
        self.purse.settle(prompt, _tokens(exchange), exchange.money, model)
        return exchange

    def model(self, brief: Brief) -> str:
        """Return the name of the model that a brief is for: that of its arm, or the job's."""
        named = brief.variant.model if brief.variant else None
        return named or self.purse.model

    def ask(self, ask: Ask) -> Exchange:
        """Ask the designer, and store what it answered and what that cost."""
        reply, money = self.designer.answer(ask), 0.0
        if asks_a_model(self.designer.name):
            reply, money = self.priced(ask, reply)
        exchange = Exchange(
            *(ask.iteration, ask.slot, ask.attempt, ask.prompt, reply, self.designer.name),
            kind=ask.brief.kind,
            money=money,
        )
        self.ledger.add_exchange(exchange)
        for note in reply.notes:
            self.ledger.event("designer.note", note, level="warning")
        return exchange

    def analysed(self, brief: Brief) -> str:
        """Ask for an analysis and return its words; none where the designer gave no usable ones."""
        exchange = self.exchange(brief, 0)
        if isinstance(exchange, str):  # no budget for it
            return ""
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

    def priced(self, ask: Ask, reply: Reply) -> tuple[Reply, float]:
        """Return the reply with its tokens counted, and what it cost, 0 where that is not known."""
        usage = counted(reply.usage, ask.prompt, reply.text)
        # An endpoint answers with a model's full name, or with a name of its own for what was asked.
        prices, asked = self.purse.prices, self.model(ask.brief)
        model = reply.model or asked
        money = prices.money(model, usage)
        money = prices.money(asked, usage) if money is None else money
        if money is None and self.purse.wonder(model):
            self.ledger.event(
                "designer.unpriced",
                f"The price of the model {model!r} is not known, and its cost counts as 0; add it to "
                "the table that REWARDSMITH_PRICES names.",
                {"model": model},
                level="warning",
            )
        return replace(reply, usage=usage), money or 0.0

    def read(self, brief: Brief, exchange: Exchange) -> Candidate:
        """Turn a reply into a candidate: with a sound program, or with a rejection."""
        candidate = _empty(brief)
        if exchange.reply.outcome != "answered":
            return _rejected(candidate, "reply", _why_unread(exchange))
        try:
            proposal = read_reply(exchange.reply.text)
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
        program, preflight = candidate.program, self.history.preflight
        assert program is not None  # its reader made one
        assert preflight is not None  # the loop proposes nothing before
        rules = (Check("rules", True),)
        try:
            refuse_duplicate(program, self.history)
            shape = self.tools.laboratory.check(program, self.task, preflight)
        except ProgramRejected as error:
            return replace(_rejected(candidate, error.rule, str(error)), program=program)
        return replace(
            candidate, status="proposed", shape=shape, checks=(*rules, Check("contract", True))
        )

    def tuned(self, brief: Brief) -> Candidate:
        """Give the parent's code new numbers, without a designer."""
        parent = brief.parents[0]
        assert parent.program is not None  # only trained candidates are parents
        last = len(self.history.spec.training.rungs) - 1
        trials = [
            (dict(c.program.params), fitness)
            for c in brief.history
            if c.program is not None
            and c.program.sha256 == parent.program.sha256
            and (fitness := loop.rung_fitness(c, last)) is not None
        ]
        candidate = replace(
            _empty(brief),
            analysis=f"The code of candidate {parent.key} with other numbers, chosen by the tuner.",
            program=self.tuner_choice(brief, parent.program, trials),
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


def written_by_designers(brief: Brief, history: History) -> list[str]:
    """Return the designer's own texts that a prompt may repeat: replies, programs and ideas."""
    found = [] if brief.repair is None else [brief.repair.reply, brief.repair.message]
    found += brief.analyses
    for candidate in (c for iteration in history.iterations for c in iteration.candidates):
        found += [candidate.analysis, candidate.prediction, candidate.rejection or ""]
        if candidate.program is not None:
            found.append(candidate.program.source)
    return found


def _empty(brief: Brief) -> Candidate:
    """Return the candidate of a slot before there is anything to it."""
    parents = tuple(parent.key for parent in brief.parents)
    arm = brief.variant.name if brief.variant else None
    return Candidate(
        brief.iteration, brief.slot, brief.operator, "rejected", parents=parents, arm=arm
    )


def _tokens(exchange: Exchange) -> int:
    usage = exchange.reply.usage
    return (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)


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


def _hold_to_reward(program: Program, parent: Candidate) -> None:
    """Refuse another reward where the features alone were to be changed."""
    if parent.program is not None and parent.program.has_reward:
        refuse_changed_reward(program, parent.program)


def new_desk(
    ledger: Ledger,
    tools: Toolbox,
    history: History,
    paid: dict[tuple[int, int], Exchange],
    bench: ScreenBench,
) -> Desk:
    """Put together what a step needs that asks the designer."""
    spec = history.spec
    purse = Purse(spec.budget, history.spent, tools.prices, spec.designer.model or tools.model)
    method = find_method(spec.method)
    return Desk(ledger, tools, method, history, tools.designer(spec), paid, purse, bench)


def _with_words(candidate: Candidate, proposal: Proposal) -> Candidate:
    return replace(candidate, analysis=proposal.analysis, prediction=proposal.prediction)


def _rejected(candidate: Candidate, rule: str, message: str) -> Candidate:
    check = Check(rule, False, message)
    return replace(candidate, status="rejected", rejection=message, checks=(check,))


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
                    hint="Change at least one component, its scale, or the features.",
                )


def train(step: loop.Train, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train one pack of candidates for one rung, and measure it."""
    history = ledger.history()
    iteration = _iteration(history, step.iteration)
    packs = loop.train_packs(history, iteration, step.rung)
    done = {(r.arm, r.seed) for c in iteration.candidates for r in c.runs if r.rung == step.rung}
    members = [member for member in packs[step.pack] if member not in done]
    order = pack_order(ledger, tools, history, members, "search", step.iteration, step.rung)
    order = replace(order, threads=physics_threads(history.preflight, len(packs)))
    result = tools.laboratory.train(order, watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


def reflect(number: int, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Turn what was measured into what the designer will be told; ask it what it makes of that."""
    history = ledger.history()
    method = find_method(history.spec.method)
    feedback = with_posteriors(history, method.digest(history, number))
    brief = method.analyse(history, number) if method.analyse is not None else None
    if brief is None:
        ledger.add_feedback(feedback)
        return
    paid = {(e.slot, e.attempt): e for e in ledger.exchanges(number)}
    words: list[str] = []

    def ask() -> None:
        bench = ScreenBench(history, tools.laboratory)
        desk = new_desk(ledger, tools, history, paid, bench)
        _in_threads([lambda: words.append(desk.analysed(brief))], watch)

    if _asked(ask, ledger):
        ledger.add_feedback(replace(feedback, analysis=words[0]))


def await_feedback(number: int, ledger: Ledger) -> None:
    """Let the job rest until people have said something of an iteration, unless they have by now."""
    if loop.waits_for_people(ledger.history()):
        ledger.await_feedback(
            f"Iteration {number} is measured; the job waits for your feedback on it."
        )


# --- after the search -------------------------------------------------------------------------


def close(
    step: loop.Confirm | loop.Transfer | loop.Ablate | loop.Finish,
    ledger: Ledger,
    tools: Toolbox,
    watch: Watch,
) -> None:
    """Do one of the steps that follow the search."""
    match step:
        case loop.Confirm(pack):
            confirm(pack, ledger, tools, watch)
        case loop.Transfer(pack):
            transfer(pack, ledger, tools, watch)
        case loop.Ablate(pack):
            ablate(pack, ledger, tools, watch)
        case loop.Finish():
            finish(ledger)


def confirm(pack: int, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train the best designs and the baseline again, from scratch, on fresh seeds."""
    history = ledger.history()
    done = {(run.arm, run.seed) for run in history.confirmations}
    packs = loop.confirm_packs(history)
    members = [member for member in packs[pack] if member not in done]
    last = len(history.spec.training.rungs) - 1
    order = pack_order(ledger, tools, history, members, "confirm", CONFIRMATION, last)
    threads = physics_threads(history.preflight, len(packs))
    order = replace(order, start_steps=0, resume={}, threads=threads)
    result = tools.laboratory.train(order, watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


def finish(ledger: Ledger) -> None:
    """Compare design and native reward on the fresh seeds, and end the job."""
    history = ledger.history()
    if not loop.ranking(history):
        ledger.fail("no_valid_candidate", no_design(history))
        return
    native = [run for run in history.confirmations if run.arm == NATIVE and run.fitness is not None]
    if not native:
        reason = next((r.failure for r in history.confirmations if r.arm == NATIVE), None)
        ledger.fail("baseline_failed", f"No baseline run could be confirmed: {reason}")
        return
    ledger.finish(decide(history))


def transfer(pack: int, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train the native reward or the winner with the user's own learner, on the fresh seeds."""
    history = ledger.history()
    done = {(run.arm, run.seed) for run in history.transfers}
    members = [member for member in loop.transfer_packs(history)[pack] if member not in done]
    last = len(history.spec.training.rungs) - 1
    order = pack_order(ledger, tools, history, members, "transfer", CONFIRMATION, last)
    order = replace(
        order,
        start_steps=0,
        stop_steps=learner_steps(history.spec),
        checkpoints=1,
        learner=history.spec.evaluation.transfer,
    )
    result = tools.laboratory.train(order, watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


def ablate(pack: int, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train the winner without some of its terms, for the first rung."""
    history = ledger.history()
    done = {(run.arm, run.seed) for run in history.ablations}
    packs = loop.ablation_packs(history)
    members = [member for member in packs[pack] if member not in done]
    order = pack_order(ledger, tools, history, members, "ablation", ABLATION, 0)
    order = replace(order, threads=physics_threads(history.preflight, len(packs)))
    result = tools.laboratory.train(order, watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


# --- orders -----------------------------------------------------------------------------------


def pack_order(
    ledger: Ledger,
    tools: Toolbox,
    history: History,
    members: Sequence[Member],
    stage: Stage,
    iteration: int,
    rung: int,
) -> PackOrder:
    """Write the order for one pack."""
    spec = history.spec
    assert history.preflight is not None  # the loop trains nothing before preflight
    long = stage in ("confirm", "transfer")
    episodes = spec.evaluation.confirm_episodes if long else spec.evaluation.episodes
    candidates = {c.key: c for i in history.iterations for c in i.candidates}
    keys = dict.fromkeys(arm for arm, _ in members)
    return PackOrder(
        task=known_task(history),
        preflight=history.preflight,
        training=spec.training,
        stage=stage,
        rung=rung,
        mode=spec.mode,
        weight=spec.weight,
        members=tuple(members),
        arms={key: _arm(key, candidates, loop.winner(history)) for key in keys},
        start_steps=rung_steps(spec.training, rung - 1),
        stop_steps=rung_steps(spec.training, rung),
        held_out=tools.held_out(ledger.job_id, _round(iteration, history), rung, episodes),
        checkpoints=spec.training.checkpoints,
        resume=_checkpoints(candidates, members, rung) if stage == "search" else {},
        warm=_warm_start(history, candidates, members) if stage == "search" and rung == 0 else {},
        record=stage in ("baseline", "search"),
        saved=loop.resumable(ledger.saved(), stage, rung, members),
    )


def _arm(key: str, candidates: dict[str, Candidate], winner: Candidate | None) -> Arm:
    """Return what an arm's runs train on."""
    if key in (NATIVE, FITNESS):
        return Arm(key)
    if key in candidates:
        return Arm(key, candidates[key].program)
    assert winner is not None  # nobody else is ablated
    assert winner.program is not None  # it was trained
    return Arm(key, without(winner.program, *ablated_arms(winner)[key]))


def _round(iteration: int, history: History) -> int:
    """Return what stands for a stage where held-out seeds are drawn; each confirmation has its own."""
    return iteration if iteration != CONFIRMATION else iteration - 1_000 * history.extensions


def _checkpoints(
    candidates: dict[str, Candidate], members: Sequence[Member], rung: int
) -> dict[Member, str]:
    wanted = set(members)
    return {
        (run.arm, run.seed): run.checkpoint
        for candidate in candidates.values()
        for run in candidate.runs
        if run.rung == rung - 1 and (run.arm, run.seed) in wanted and run.checkpoint
    }


def _warm_start(
    history: History, candidates: dict[str, Candidate], members: Sequence[Member]
) -> dict[Member, tuple[str, ...]]:
    """Say whose transitions a member starts with: runs of its own seed, so that seeds stay apart.

    The baseline's come first and those of the best parent last; what does not fit is forgotten from
    the front.  Confirmations start from nothing, or they would not be comparable.
    """
    if not history.spec.training.warm_start:
        return {}
    runs = [*history.native, *(run for c in candidates.values() for run in c.runs)]
    lived = {(r.arm, r.seed): r.checkpoint for r in sorted(runs, key=lambda r: r.rung)}
    return {
        (arm, seed): tuple(
            checkpoint
            for source in (NATIVE, *reversed(candidates[arm].parents))
            if (checkpoint := lived.get((source, seed))) is not None
        )
        for arm, seed in members
        if arm in candidates
    }


def known_task(history: History) -> Task:
    """Return the job's task with the fields that preflight confirmed or derived."""
    task = history.spec.task
    return task if history.preflight is None else replace(task, fields=history.preflight.fields)


def _iteration(history: History, number: int) -> Iteration:
    known = {iteration.number: iteration for iteration in history.iterations}
    return known.get(number, Iteration(number))
