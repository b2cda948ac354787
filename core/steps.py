"""How each step is carried out: read the facts, do one thing, write the facts.

`core/loop.py` says which step is wanted; a worker claims it and calls `carry_out`.  Nothing here keeps
state: what is known is in the ledger, and a step that is done twice stores its facts once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Event

from core import choosing, loop, searching, seeding
from core.bandit import with_posteriors
from core.budgets import learner_steps
from core.desk import new_desk
from core.errors import (
    ClaimLost,
    ConfigurationError,
    DesignerUnavailable,
    EnvironmentUnusable,
    InvalidInput,
    PromptLeak,
    StepInterrupted,
    StorageFailed,
    WorkerStopping,
)
from core.estimates import after_preflight
from core.fitness import describe
from core.loop import Step
from core.methods import find_method
from core.methods.breeding import briefs_for_given
from core.orders import (
    ABLATION,
    BASELINE,
    CONFIRMATION,
    RUNOFF,
    film_order,
    filmed_extension,
    pack_order,
)
from core.outcome import decide, no_design
from core.packing import (
    ablation_packs,
    confirm_packs,
    cut_short,
    runoff_packs,
    train_packs,
    transfer_packs,
)
from core.packs import physics_threads
from core.ports import (
    Ledger,
    News,
    Progress,
    Screened,
    Watch,
)
from core.records.asking import Brief
from core.records.history import History
from core.records.kinds import FITNESS, NATIVE
from core.records.measured import Rollout
from core.records.rounds import Candidate, Feedback, Iteration
from core.scenes import Scene, to_film, to_show
from core.screening import ProgramBench
from core.toolbox import Toolbox

CONCURRENT_ASKS = 16
BEAT_SECONDS = 0.5


def carry_out(
    step: Step, ledger: Ledger, tools: Toolbox, watch: Watch, history: History | None = None
) -> None:
    """Do one claimed step.

    Args:
        step:    what to do.
        ledger:  writes its facts, as long as the claim holds.
        tools:   the outside world.
        watch:   called about twice a second with the progress; renews the claim.
        history: what was known when the step was claimed; None to read it now.

    Raises:
        ClaimLost, StepInterrupted: nothing more may be written; the next claim starts over.
        RewardsmithError: the system is broken, not the candidate.
    """
    known = history or ledger.history()
    match step:
        case loop.Import():
            ledger.take_in()
        case loop.Preflight():
            preflight(known, ledger, tools, watch)
        case loop.Baseline():
            baseline(known, ledger, tools, watch)
        case loop.FitnessAlone():
            fitness_alone(known, ledger, tools, watch)
        case loop.Propose(iteration):
            propose(iteration, known, ledger, tools, watch)
        case loop.Train():
            train(step, known, ledger, tools, watch)
        case loop.Reflect(iteration):
            reflect(iteration, known, ledger, tools, watch)
        case loop.Show() | loop.Await():
            ask_people(step, known, ledger, tools, watch)
        case (
            loop.Runoff()
            | loop.Confirm()
            | loop.Transfer()
            | loop.Ablate()
            | loop.Film()
            | loop.Finish()
        ):
            close(step, known, ledger, tools, watch)


# --- before the search ------------------------------------------------------------------------


def preflight(history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Build and probe the environment; a failure ends the job before a token is spent."""
    spec = history.spec
    try:
        if spec.evaluation.transfer is not None:
            tools.laboratory.require_learner(spec.evaluation.transfer, watch)
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
    told = News("log", f"Fitness: {describe(spec.task.fitness, found.fields)}")
    ledger.add_preflight(replace(found, estimate=after_preflight(spec, found)), [told])


def baseline(history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train the native reward with the seeds and the budget that the candidates will get."""
    done = {run.seed for run in history.native}
    members = [(NATIVE, seed) for seed in seeding.search_seeds(history) if seed not in done]
    last = len(history.spec.training.rungs) - 1
    order = pack_order(ledger, tools, history, members, "baseline", BASELINE, last)
    result = tools.laboratory.train(replace(order, start_steps=0), watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)
    # A retry trains only what broke: those that were scored before still stand.
    scored = any(run.fitness is not None for run in (*history.native, *result.runs))
    failures = [run.failure for run in result.runs if run.status == "failed"]
    if failures and not scored:
        ledger.fail("baseline_failed", f"No baseline run could be trained: {failures[0]}")


def fitness_alone(history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train on the fitness alone, as the baseline; where that breaks, the job goes on without."""
    done = {run.seed for run in history.fitness_alone}
    members = [(FITNESS, seed) for seed in seeding.search_seeds(history) if seed not in done]
    last = len(history.spec.training.rungs) - 1
    order = pack_order(ledger, tools, history, members, "baseline", BASELINE, last)
    result = tools.laboratory.train(replace(order, start_steps=0), watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


# --- one iteration ----------------------------------------------------------------------------


def propose(number: int, history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Fill every open slot of an iteration with a candidate, sound or rejected with a reason."""
    method = find_method(history.spec.method)
    here = _iteration(history, number).candidates
    stored, taken = {c.number for c in here}, {c.given for c in here}
    planned = () if searching.plan_fulfilled(history) else method.briefs(history)
    handed = [
        b for b in briefs_for_given(history, planned) if b.given and b.given.number not in taken
    ]
    briefs = [brief for brief in (*planned, *handed) if brief.slot not in stored]
    paid = {(e.slot, e.attempt): e for e in ledger.exchanges(number)}
    bench = ProgramBench(history, tools.laboratory)
    candidates = [*here]

    def ask() -> None:
        desk = new_desk(ledger, tools, history, paid, bench)

        def fill(brief: Brief) -> None:
            candidates.append(desk.fill(brief))

        with bench.calling_known(), desk.keeping_filled():
            _in_threads([partial(fill, brief) for brief in briefs], watch, desk.given_up)
            ledger.end_proposing(number, screen(candidates, bench, watch), desk.in_order())

    _asked(ask, ledger)


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


def screen(
    candidates: Sequence[Candidate], bench: ProgramBench, watch: Watch
) -> tuple[Screened, ...]:
    """Hold an iteration's sound candidates against what is known, before anything is trained.

    It waits until every slot is filled, because a candidate is dropped only if enough others stay.
    """
    in_order = sorted(candidates, key=lambda candidate: candidate.number)
    sound = [c for c in in_order if c.status == "proposed"]
    if not bench.history.spec.screens or not sound or any(c.screens for c in candidates):
        return ()
    return bench.judge(sound, watch)


def _in_threads(works: Sequence[Callable[[], None]], watch: Watch, given_up: Event) -> None:
    """Run the works concurrently, keep the claim alive, and raise the first error in the end.

    What the other works were already waiting for is paid for, so they are waited for as well, unless
    `watch` says that nothing may be written any more; `given_up` then keeps them from asking anew.
    A worker that is to end waits as long as it can, and keeps the step meanwhile: whoever took it would
    ask the same again.
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
    except WorkerStopping as stop:
        given_up.set()
        _outlast([one for one in waiting if not one.cancel()], watch, stop.patience_seconds)
        raise
    finally:
        given_up.set()
        # An answer that is still on its way cannot be called back; its thread stores it, if nobody else
        # has taken the step by then, and ends.
        pool.shutdown(wait=False, cancel_futures=True)
    if errors:
        raise errors[0]


def _outlast(works: Sequence[Future[None]], watch: Watch, seconds: float) -> None:
    """Wait for works under way in a worker that is to end, as long as the step is its own."""
    until, waiting = time.monotonic() + seconds, set(works)
    while waiting and time.monotonic() < until:
        _, waiting = wait(waiting, BEAT_SECONDS)
        with suppress(WorkerStopping):
            watch(Progress("proposing", len(works) - len(waiting), len(works)))


def _designer_down(error: DesignerUnavailable, ledger: Ledger) -> None:
    if error.retry_after_seconds is None:
        ledger.pause(str(error))  # a refused key, say: once it is mended, the job goes on
        return
    ledger.event("designer.unavailable", str(error), level="warning")
    ledger.wait(error.retry_after_seconds, str(error))


def train(step: loop.Train, history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train one pack of candidates for one rung, and measure it."""
    iteration = _iteration(history, step.iteration)
    packs = train_packs(history, iteration, step.rung)
    done = {(r.arm, r.seed) for c in iteration.candidates for r in c.runs if r.rung == step.rung}
    members = [member for member in packs[step.pack] if member not in done]
    order = pack_order(ledger, tools, history, members, "search", step.iteration, step.rung)
    order = replace(order, threads=physics_threads(history.preflight, len(packs)))
    result = tools.laboratory.train(order, watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


def reflect(number: int, history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Turn what was measured into what the designer will be told; ask it what it makes of that."""
    method = find_method(history.spec.method)
    feedback = with_posteriors(history, method.digest(history, number))
    brief = method.analyse(history, number) if method.analyse is not None else None
    if brief is None:
        _close(number, history, feedback, ledger)
        return
    paid = {(e.slot, e.attempt): e for e in ledger.exchanges(number)}
    words: list[str] = []

    def ask() -> None:
        bench = ProgramBench(history, tools.laboratory)
        desk = new_desk(ledger, tools, history, paid, bench)
        _in_threads([lambda: words.append(desk.analysed(brief))], watch, desk.given_up)

    if _asked(ask, ledger):
        _close(number, history, replace(feedback, analysis=words[0]), ledger)


def _close(number: int, history: History, feedback: Feedback, ledger: Ledger) -> None:
    """Close an iteration, and tell where a budget ended it early."""
    told = []
    if budget := cut_short(history, _iteration(history, number)):
        message = f"The budget ({budget}) does not allow the next rung of iteration {number}."
        details = {"iteration": number, "budget": budget}
        told = [News("log", message, details, level="warning")]
    ledger.add_feedback(feedback, told)


def ask_people(
    step: loop.Show | loop.Await,
    history: History,
    ledger: Ledger,
    tools: Toolbox,
    watch: Watch,
) -> None:
    """Show an iteration to people, or wait for what they say of it."""
    match step:
        case loop.Show(iteration):
            show(iteration, history, ledger, tools, watch)
        case loop.Await(iteration):
            await_feedback(iteration, ledger)


def show(number: int, history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Film what people are to judge, as long as they have not said it by now."""
    for scene in to_show(history, number):
        if not searching.waits_for_people(ledger.history()):
            return
        ledger.add_rollouts([_filmed(scene, history, ledger, tools, watch)])


def await_feedback(number: int, ledger: Ledger) -> None:
    """Let the job rest until people have said something of an iteration, unless they have by now."""
    if searching.waits_for_people(ledger.history()):
        ledger.await_feedback(
            f"Iteration {number} is measured; the job waits for your feedback on it."
        )


# --- after the search -------------------------------------------------------------------------


def close(
    step: loop.Runoff | loop.Confirm | loop.Transfer | loop.Ablate | loop.Film | loop.Finish,
    history: History,
    ledger: Ledger,
    tools: Toolbox,
    watch: Watch,
) -> None:
    """Do one of the steps that follow the search."""
    match step:
        case loop.Runoff(pack):
            runoff(pack, history, ledger, tools, watch)
        case loop.Confirm(pack):
            confirm(pack, history, ledger, tools, watch)
        case loop.Transfer(pack):
            transfer(pack, history, ledger, tools, watch)
        case loop.Ablate(pack):
            ablate(pack, history, ledger, tools, watch)
        case loop.Film():
            film(history, ledger, tools, watch)
        case loop.Finish():
            finish(history, ledger)


def runoff(pack: int, history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train the search's best designs again, from scratch and at full length, on seeds of their own."""
    done = {(run.arm, run.seed) for run in history.runoffs}
    packs = runoff_packs(history)
    members = [member for member in packs[pack] if member not in done]
    last = len(history.spec.training.rungs) - 1
    order = pack_order(ledger, tools, history, members, "runoff", RUNOFF, last)
    order = replace(order, start_steps=0, threads=physics_threads(history.preflight, len(packs)))
    result = tools.laboratory.train(order, watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


def confirm(pack: int, history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train the best designs and the baseline again, from scratch, on fresh seeds."""
    done = {(run.arm, run.seed) for run in history.confirmations}
    packs = confirm_packs(history)
    members = [member for member in packs[pack] if member not in done]
    last = len(history.spec.training.rungs) - 1
    order = pack_order(ledger, tools, history, members, "confirm", CONFIRMATION, last)
    threads = physics_threads(history.preflight, len(packs))
    order = replace(order, start_steps=0, resume={}, threads=threads)
    result = tools.laboratory.train(order, watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


def finish(history: History, ledger: Ledger) -> None:
    """Compare design and native reward on the fresh seeds, and end the job."""
    if not choosing.ranking(history):
        ledger.fail("no_valid_candidate", no_design(history))
        return
    native = [run for run in history.confirmations if run.arm == NATIVE and run.fitness is not None]
    if not native:
        reason = next((r.failure for r in history.confirmations if r.arm == NATIVE), None)
        ledger.fail("baseline_failed", f"No baseline run could be confirmed: {reason}")
        return
    ledger.finish(decide(history))


def transfer(pack: int, history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train the native reward or the winner with the user's own learner, on the fresh seeds."""
    done = {(run.arm, run.seed) for run in history.transfers}
    members = [member for member in transfer_packs(history)[pack] if member not in done]
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


def ablate(pack: int, history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Train the winner without some of its terms, for the first rung."""
    done = {(run.arm, run.seed) for run in history.ablations}
    packs = ablation_packs(history)
    members = [member for member in packs[pack] if member not in done]
    order = pack_order(ledger, tools, history, members, "ablation", ABLATION, 0)
    order = replace(order, threads=physics_threads(history.preflight, len(packs)))
    result = tools.laboratory.train(order, watch, ledger.save)
    ledger.add_runs(result.runs, result.reports)


def film(history: History, ledger: Ledger, tools: Toolbox, watch: Watch) -> None:
    """Film a few episodes; whatever prevents it is stored as the reason, and the job goes on."""
    for scene in to_film(history):
        ledger.add_rollouts([_filmed(scene, history, ledger, tools, watch)])


def _filmed(
    scene: Scene, history: History, ledger: Ledger, tools: Toolbox, watch: Watch
) -> Rollout:
    extension, stage = filmed_extension(history, scene), scene.stage
    missing = Rollout(scene.arm, scene.episode, seed=0, extension=extension, stage=stage)
    try:
        order = film_order(ledger, tools, history, scene)
        if order is None:
            return replace(missing, failure="none of its runs has a policy")
        filmed = tools.laboratory.film(order, watch)
        return replace(filmed, extension=extension, stage=stage)
    except (ClaimLost, StepInterrupted, StorageFailed):
        raise
    except Exception as error:  # noqa: BLE001  # a job that is measured never fails for want of a film
        return replace(missing, failure=str(error) or repr(error))


def _iteration(history: History, number: int) -> Iteration:
    known = {iteration.number: iteration for iteration in history.iterations}
    return known.get(number, Iteration(number))
