"""A whole job in one process with pretended outside world: what is asked, stored, repaired, decided."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from core.desk import MAX_REPAIRS
from core.errors import (
    ClaimLost,
    DesignerUnavailable,
    EnvironmentUnusable,
    InvalidInput,
    SandboxFailed,
    StepInterrupted,
)
from core.loop import next_steps, read_step, step_key
from core.ports import Screening, ScreenNumbers, Trajectory
from core.records.asking import Reply
from core.records.history import History
from core.records.kinds import ANALYSIS_SLOT, FITNESS, NATIVE
from core.records.measured import Saved
from core.records.people import Remark
from core.records.spec import Context, DesignerChoice, Training
from core.records.task import Field
from core.steps import carry_out
from core.toolbox import Toolbox
from core.tuning import propose_params
from core.words import number
from tests.builders import SOURCE, a_history, a_preflight, a_run, a_spec
from tests.fakes import REPLY, MemoryLedger, PretendLaboratory, ScriptedDesigner


def good(ask, note=""):
    place = f"{ask.iteration}.{ask.slot}{ask.attempt}"
    source = SOURCE.replace("Stay near", f"Variant {place}{note}: stay near")
    return REPLY.format(source=source.replace("- 1.0", f"- {place}"))


def toolbox(designer, laboratory):
    return Toolbox(
        lambda spec: designer,
        laboratory,
        lambda job, i, rung, n: tuple(range(n)),
        propose_params,
    )


def run_job(spec, script=good, fitness=lambda arm, seed: 0.1 if arm == NATIVE else 0.9, **lab):
    designer = ScriptedDesigner(script)
    laboratory = PretendLaboratory(fitness, **lab)
    ledger = MemoryLedger(History(spec, status="running"))
    tools = toolbox(designer, laboratory)
    for _ in range(100):
        steps = next_steps(ledger.facts)
        if not steps:
            return ledger, designer, laboratory
        carry_out(steps[0], ledger, tools, watch=lambda progress: None)
    raise AssertionError("the job does not end")


def test_a_job_ends_with_a_verdict_on_fresh_seeds():
    spec = a_spec(
        iterations=2, candidates=3, evaluation=replace(a_spec().evaluation, confirm_seeds=5)
    )
    ledger, _, laboratory = run_job(spec)
    outcome = ledger.facts.outcome
    assert (ledger.facts.status, outcome.verdict) == ("succeeded", "better")
    assert (outcome.native.mean, outcome.designed.mean, outcome.designed.n) == (0.1, 0.9, 5)
    confirmed = [order for order in laboratory.orders if order.stage == "confirm"]
    assert {arm for order in confirmed for arm, _ in order.members} == {NATIVE, outcome.best}


def test_baseline_and_candidates_get_the_same_steps_and_seeds():
    _, _, laboratory = run_job(a_spec())
    search = [order for order in laboratory.orders if order.stage != "confirm"]
    assert {order.stop_steps - order.start_steps for order in search} == {1000}
    assert {seed for order in search for _, seed in order.members} == {0, 1}


@pytest.mark.parametrize(
    ("scored", "status"), [((0,), "running"), ((), "failed")], ids=["one stands", "none"]
)
def test_a_baseline_that_breaks_again_ends_the_job_only_if_no_run_of_it_is_scored(scored, status):
    known = tuple(a_run(NATIVE, 0.2, seed=seed, stage="baseline") for seed in scored)
    ledger = MemoryLedger(a_history(native=known))
    tools = toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: None))
    carry_out(read_step("baseline"), ledger, tools, watch=lambda progress: None)
    assert (len(ledger.facts.native), ledger.facts.status) == (2, status)


def test_a_rejected_program_goes_back_with_its_error_and_is_mended():
    def script(ask):
        return "I have no code." if ask.attempt == 0 else good(ask)

    ledger, designer, _ = run_job(a_spec(iterations=1), script)
    assert [c.status for c in ledger.facts.iterations[0].candidates] == ["trained", "trained"]
    repair = next(ask for ask in designer.asked if ask.attempt == 1)
    assert repair.brief.repair.reply == "I have no code."
    assert repair.brief.repair.message in repair.prompt.messages[-1][1]


def test_repairs_are_bounded_and_the_last_error_is_kept():
    ledger, designer, laboratory = run_job(a_spec(iterations=1), lambda ask: "still no code")
    assert len(designer.asked) == 2 * (1 + MAX_REPAIRS)
    assert all(c.rejection for c in ledger.facts.iterations[0].candidates)
    assert not [order for order in laboratory.orders if order.stage == "search"]
    assert ledger.facts.failure.startswith("no_valid_candidate")
    assert "code" in ledger.facts.failure


def test_a_failed_check_in_the_sandbox_is_an_outcome_with_its_rule():
    ledger, _, _ = run_job(a_spec(iterations=1), refuse=lambda program: "shape [B, 1]")
    candidate = ledger.facts.iterations[0].candidates[0]
    assert (candidate.status, candidate.checks[-1].rule) == ("rejected", "shape")
    assert candidate.program is not None


def test_the_same_program_twice_is_trained_once():
    same = REPLY.format(source=SOURCE)
    ledger, _, _ = run_job(a_spec(iterations=2, candidates=1), lambda ask: same)
    second = ledger.facts.iterations[1].candidates[0]
    assert second.status == "rejected"
    assert "same program as candidate 0.0" in second.rejection


@pytest.mark.parametrize("outcome", ["truncated", "empty", "refused", "garbage"])
def test_a_reply_that_is_no_answer_is_stored_with_its_reason(outcome):
    ledger, _, _ = run_job(a_spec(iterations=1), lambda ask: Reply("", outcome=outcome))
    candidate = ledger.facts.iterations[0].candidates[0]
    assert (candidate.status, candidate.checks[0].rule) == ("rejected", "reply")
    assert {exchange.reply.outcome for exchange in ledger.paid} == {outcome}


def test_an_answer_that_was_paid_for_is_not_asked_for_again():
    spec = a_spec(iterations=1)
    ledger = MemoryLedger(a_history(spec=spec))
    first = ScriptedDesigner(good)
    tools = toolbox(first, PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    ledger.facts = a_history(spec=spec)  # the worker died before a candidate was stored
    second = ScriptedDesigner(good)
    tools = toolbox(second, PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    assert not second.asked
    assert len(ledger.facts.iterations[0].candidates) == spec.candidates


def unavailable(retry):
    def script(ask):
        raise DesignerUnavailable("connection refused", retry_after_seconds=retry)

    return script


def test_a_designer_that_is_down_is_waited_for():
    ledger = MemoryLedger(a_history())
    tools = toolbox(ScriptedDesigner(unavailable(30.0)), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    assert ledger.rests == [30.0]
    assert ledger.facts.status == "running"
    assert not ledger.facts.iterations


def test_a_designer_that_refuses_our_key_lets_the_job_rest_with_a_reason():
    ledger = MemoryLedger(a_history())
    tools = toolbox(ScriptedDesigner(unavailable(None)), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    assert ledger.facts.pause_requested
    assert ("job.blocked", "connection refused") in ledger.events


def test_what_a_question_will_cost_is_set_aside_before_it_is_asked():
    ledger, seen = MemoryLedger(a_history()), []

    def script(ask):
        seen.append((ask.iteration, ask.slot, ask.attempt) in ledger.reserved)
        return good(ask)

    tools = toolbox(ScriptedDesigner(script), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    assert seen == [True, True]
    assert ledger.reserved == {}


@pytest.mark.parametrize(("maybe_paid", "kept"), [(False, 0), (True, 2)])
def test_what_was_set_aside_stays_so_only_if_the_question_may_have_been_paid_for(maybe_paid, kept):
    def script(ask):
        raise DesignerUnavailable("no answer", retry_after_seconds=5.0, maybe_paid=maybe_paid)

    ledger = MemoryLedger(a_history())
    tools = toolbox(ScriptedDesigner(script), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    assert len(ledger.reserved) == kept


def test_answers_of_other_slots_that_are_paid_for_are_kept_when_one_slot_finds_nobody():
    def script(ask):
        if ask.slot == 0:
            raise DesignerUnavailable("too many requests", retry_after_seconds=5.0)
        return good(ask)

    ledger = MemoryLedger(a_history(spec=a_spec(candidates=4)))
    tools = toolbox(ScriptedDesigner(script), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    assert sorted(exchange.slot for exchange in ledger.paid) == [1, 2, 3]
    assert ledger.rests == [5.0]


def test_a_designer_that_cannot_be_made_lets_the_job_rest_with_its_reason():
    def no_recording(spec):
        raise DesignerUnavailable("no such recording")

    ledger = MemoryLedger(a_history())
    tools = replace(
        toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.5)),
        designer=no_recording,
    )
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    assert ledger.facts.pause_requested
    assert ("job.blocked", "no such recording") in ledger.events


def test_a_prompt_that_leaks_is_not_sent_and_the_job_rests_with_the_reason():
    """A field of the metric that bears an everyday word as its name, which every prompt contains."""
    seen = a_preflight().fields
    fields = (*seen, Field("policy", "info.policy", visible=("metric",)))
    ledger = MemoryLedger(a_history(preflight=a_preflight(fields=fields)))
    designer = ScriptedDesigner(good)
    tools = toolbox(designer, PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    assert ledger.facts.pause_requested
    assert not designer.asked
    assert not ledger.paid
    assert any(kind == "job.blocked" and "'policy'" in why for kind, why in ledger.events)


@pytest.mark.parametrize("shown", [True, False])
def test_the_environments_source_is_shown_only_where_the_job_asks_for_it(shown):
    spec = a_spec(method="eureka", iterations=1, context=Context(source=shown))
    _, designer, _ = run_job(spec)
    text = str(designer.asked[0].prompt)
    assert ("def _get_obs" in text) == shown
    assert "3.0" not in text  # what it pays


def test_an_environment_that_cannot_be_built_ends_the_job_before_anything_is_asked():
    class Broken(PretendLaboratory):
        def preflight(self, task, training, seed, watch, *, source=False):
            raise EnvironmentUnusable("no module named box2d", hint="pip install gymnasium[box2d]")

    ledger = MemoryLedger(History(a_spec()))
    designer = ScriptedDesigner(good)
    tools = toolbox(designer, Broken(lambda arm, seed: 0.5))
    carry_out(read_step("preflight"), ledger, tools, watch=lambda progress: None)
    assert "pip install gymnasium[box2d]" in ledger.facts.failure
    assert not designer.asked


def test_numbers_are_tuned_without_asking_the_designer():
    spec = a_spec(method="smith", iterations=2, candidates=4)
    ledger, designer, _ = run_job(spec)
    tuned = [c for c in ledger.facts.iterations[1].candidates if c.operator == "parameters"]
    assert len(tuned) == 1
    parent = next(c for c in ledger.facts.iterations[0].candidates if c.key == tuned[0].parents[0])
    assert tuned[0].program.source == parent.program.source
    assert tuned[0].program.params != parent.program.params
    told = tuned[0].analysis
    assert told.startswith(
        f"The code of candidate {parent.key} with other numbers, chosen by the tuner: "
    )
    assert len(parent.program.params) <= 3  # of more, those are told that changed most
    assert all(
        (f"{name} {number(old)} to {number(tuned[0].program.params[name])}" in told)
        is (tuned[0].program.params[name] != old)
        for name, old in parent.program.params.items()
    )
    assert (1, tuned[0].number) not in {(ask.iteration, ask.slot) for ask in designer.asked}


def test_numbers_are_tuned_where_nobody_was_scored_at_the_last_rung():
    training = Training(steps=1000, seeds=2, packs=1, rungs=(0.5, 1.0), threshold=5.0)
    ledger, _, _ = run_job(a_spec(method="smith", iterations=2, candidates=4, training=training))
    tuned = [c for c in ledger.facts.iterations[1].candidates if c.operator == "parameters"]
    assert [{run.rung for run in c.runs} for c in tuned] == [{0}]


def tau_by_near(order):
    """Drafts pay stored episodes in the order of their fitness the better, the larger `near` is."""
    told = tuple(Trajectory(f"s{n % 2}", 0.9 - n % 2 * 0.8 - n / 100, 100) for n in range(20))
    fitness = np.array([one.fitness for one in told])

    def paid(program):
        near = program.params["near"]
        return np.where(np.arange(20) < 4 * near, fitness, -fitness)

    numbers = {
        key: ScreenNumbers(None, None, np.zeros((0, 1)), paid(p), paid(p))
        for key, p in order.programs.items()
    }
    return Screening(told, numbers)


def tuned_of(spec, **lab):
    ledger, _, _ = run_job(spec, **lab)
    return [c for c in ledger.facts.iterations[1].candidates if c.operator == "parameters"]


@pytest.mark.parametrize(("slots", "tuned"), [(4, 1), (6, 2), (9, 3)])
def test_larger_iterations_train_several_points_at_once(slots, tuned):
    found = tuned_of(a_spec(iterations=2, candidates=slots))
    assert len(found) == len({tuple(c.program.params.values()) for c in found}) == tuned
    assert {c.status for c in found} == {"trained"}
    assert {len(c.runs) for c in found} == {2}


def tuned_of_nine(numbers, screens):
    """Return `near` of the tuned candidates of an iteration of nine, and of every point proposed."""
    proposed = []

    def remember(trials, bounds, seed, count):
        points = propose_params(trials, bounds, seed, count)
        proposed.append([point["near"] for point in points])
        return points

    spec = a_spec(iterations=2, candidates=9, screens=screens)
    ledger = MemoryLedger(History(spec, status="running"))
    laboratory = PretendLaboratory(lambda arm, seed: 0.1 if arm == NATIVE else 0.9, numbers=numbers)
    tools = replace(toolbox(ScriptedDesigner(good), laboratory), tuner=remember)
    while not ledger.facts.iterations[1:] or not ledger.facts.iterations[1].proposed:
        carry_out(next_steps(ledger.facts)[0], ledger, tools, watch=lambda progress: None)
    assert len(proposed) == 3  # each slot for itself,
    assert proposed[0] == proposed[1] == proposed[2]  # and all of them the same eight
    assert len(proposed[0]) == 8
    found = [c for c in ledger.facts.iterations[1].candidates if c.operator == "parameters"]
    return [c.program.params["near"] for c in found], proposed[0]


def test_of_the_points_proposed_those_are_trained_that_order_stored_episodes_best():
    trained, proposed = tuned_of_nine(tau_by_near, ("order",))
    assert trained == sorted(proposed, key=lambda near: -min(np.ceil(4 * near), 20))[:3]


def test_no_slot_is_spent_on_numbers_that_pay_what_a_known_program_pays():
    def numbers(order):
        """Points below 1 pay like all known programs, the others each in its own way."""
        rows = {
            key: np.random.default_rng(int(1e4 * max(p.params["near"], 1.0))).normal(size=256)
            for key, p in order.programs.items()
        }
        none = np.zeros(0)
        said = {
            key: ScreenNumbers(row, row, np.zeros((0, 256)), none, none)
            for key, row in rows.items()
        }
        return Screening((), said)

    trained, proposed = tuned_of_nine(numbers, ("duplicate",))
    own = [near for near in proposed if near > 1.0]
    assert 0 < len(own) < len(proposed)
    copies = [near for near in proposed if near <= 1.0]
    assert trained == (own + copies)[:3]


def test_a_watch_that_stops_leaves_no_result():
    def stop(progress):
        raise StepInterrupted("cancelled")

    ledger = MemoryLedger(a_history(native=()))
    tools = toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.5))
    with pytest.raises(StepInterrupted):
        carry_out(read_step("baseline"), ledger, tools, watch=stop)
    assert not ledger.facts.native


def test_questions_that_still_wait_when_a_step_is_stopped_know_that_nobody_waits_for_them():
    def script(ask):
        assert ask.given_up.wait(30), "the step ended and did not say so"
        raise DesignerUnavailable("given up")

    def stop(progress):
        raise StepInterrupted("paused")

    ledger, designer = MemoryLedger(a_history()), ScriptedDesigner(script)
    tools = toolbox(designer, PretendLaboratory(lambda arm, seed: 0.5))
    with pytest.raises(StepInterrupted):
        carry_out(read_step("propose/0"), ledger, tools, watch=stop)
    assert all(ask.given_up.is_set() for ask in designer.asked)
    assert designer.asked


class LetGo(MemoryLedger):
    """Of a step that its owner has let go of: only what was paid for is still stored."""

    def event(self, *given, **named):
        raise ClaimLost("let go of")

    add_candidate = event


def test_answers_that_come_after_a_step_was_stopped_are_stored_and_their_threads_end():
    ledger = LetGo(a_history())

    def late(ask):
        assert ask.given_up.wait(30), "the step ended and did not say so"
        return good(ask)

    def stop(progress):
        raise StepInterrupted("paused")

    tried = []
    laboratory = PretendLaboratory(lambda arm, seed: 0.5, refuse=tried.append)
    tools = toolbox(ScriptedDesigner(late), laboratory)
    with pytest.raises(StepInterrupted):
        carry_out(read_step("propose/0"), ledger, tools, watch=stop)
    for thread in threading.enumerate():
        if thread.name.startswith("propose"):
            thread.join(30)
    assert len(ledger.paid) == a_spec().candidates
    assert tried == []  # no program was checked for nobody


def test_a_rung_continues_from_the_checkpoints_of_the_one_before():
    spec = a_spec(candidates=3, training=Training(steps=1000, seeds=1, packs=1, rungs=(0.2, 1.0)))
    _, _, laboratory = run_job(spec, fitness=lambda arm, seed: 0.2 + len(arm) + seed / 1e4)
    search = [order for order in laboratory.orders if order.stage == "search"]
    assert {(o.rung, o.start_steps, o.stop_steps) for o in search} == {(0, 0, 200), (1, 200, 1000)}


class Keeping(PretendLaboratory):
    """Gives every run a checkpoint that says whose it is."""

    def _runs(self, order):
        for run in super()._runs(order):
            yield replace(run, checkpoint=f"{run.arm}/{run.seed}/{run.rung}")


def kept_orders(**training):
    spec = a_spec(
        iterations=2, training=Training(steps=1000, seeds=2, rungs=(0.5, 1.0), **training)
    )
    laboratory = Keeping(lambda arm, seed: 0.1 if arm == NATIVE else 0.9)
    ledger = MemoryLedger(History(spec, status="running"))
    tools = toolbox(ScriptedDesigner(good), laboratory)
    while steps := next_steps(ledger.facts):
        carry_out(steps[0], ledger, tools, watch=lambda progress: None)
    return laboratory.orders, {c.key: c for i in ledger.facts.iterations for c in i.candidates}


def test_a_warm_start_brings_what_baseline_and_parents_lived_with_the_same_seed():
    orders, candidates = kept_orders(algorithm="sac", warm_start=True)
    first = [order for order in orders if order.stage == "search" and order.rung == 0]
    assert any(candidates[arm].parents for order in first for arm, _ in order.members)
    for order in first:
        for arm, seed in order.members:
            sources = order.warm[arm, seed]
            assert sources[0] == f"{NATIVE}/{seed}/1"
            # The best parent comes last: what does not fit is forgotten from the front.
            parents = candidates[arm].parents[::-1]
            assert [s.split("/")[0] for s in sources[1:]] == list(parents)
            assert {s.split("/")[1] for s in sources} == {str(seed)}
    for order in orders:
        if order not in first:  # baseline, later rungs, and confirmations from scratch
            assert not order.warm


def test_nobody_starts_warm_unasked():
    orders, _ = kept_orders(algorithm="sac")
    assert not any(order.warm for order in orders)


# --- screens --------------------------------------------------------------------------------------


def alike(*same):
    """Numbers in which the named candidates pay the same, and all others something of their own."""

    def paid(key):
        place = [0] if key in same else [1, *map(int, key.split("."))]
        return np.random.default_rng(place).normal(size=64)

    def numbers(order):
        none, nothing = np.zeros((0, 64)), np.zeros(0)
        return Screening(
            (),
            {
                key: ScreenNumbers(paid(key), paid(key), none, nothing, nothing)
                for key in order.programs
            },
        )

    return numbers


SCREENED = {"screens": ("duplicate",), "method": "eureka"}


def test_a_screened_candidate_is_stored_with_what_it_saved_and_never_trained():
    spec = a_spec(iterations=1, candidates=4, **SCREENED)
    ledger, _, laboratory = run_job(spec, numbers=alike("0.1", "0.3"))
    candidates = ledger.facts.iterations[0].candidates
    assert [c.status for c in candidates] == ["trained", "trained", "trained", "screened"]
    assert (candidates[3].screens[0].other, candidates[3].saved_steps) == ("0.1", 2 * 1000)
    trained_arms = {arm for o in laboratory.orders if o.stage == "search" for arm, _ in o.members}
    assert trained_arms == {"0.0", "0.1", "0.2"}


def test_a_duplicate_of_an_earlier_iteration_goes_back_to_the_designer_as_a_repair():
    spec = a_spec(iterations=2, candidates=4, **SCREENED)
    ledger, designer, _ = run_job(spec, numbers=alike("0.0", "1.2"))
    asked = [ask for ask in designer.asked if (ask.iteration, ask.slot) == (1, 2)]
    assert len(asked) == 1 + MAX_REPAIRS
    assert "It pays what candidate 0.0 pays" in asked[1].brief.repair.message
    assert "Change what is paid until it correlates" in asked[1].prompt.messages[-1][1]
    assert ledger.facts.iterations[1].candidates[2].status == "screened"
    others = [ask for ask in designer.asked if ask.iteration == 1 and ask.slot != 2]
    assert {ask.attempt for ask in others} == {0}


def test_a_propose_step_that_is_done_again_decides_the_same():
    spec = a_spec(iterations=1, candidates=4, **SCREENED)
    decided = []
    for lost in (False, True):
        ledger = MemoryLedger(a_history(spec=spec))
        laboratory = PretendLaboratory(lambda arm, seed: 0.5, numbers=alike("0.0", "0.1"))
        tools = toolbox(ScriptedDesigner(good), laboratory)
        if lost:  # as an earlier version's worker left it that died between decision and end
            decide = ledger.add_screens
            ledger.end_proposing = lambda number, screened, filled, decide=decide: decide(screened)
        carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
        if lost:
            del ledger.end_proposing
            laboratory.numbers = alike("0.2", "0.3")
            carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
        decided.append(ledger.facts.iterations[0])
    assert decided[0] == decided[1]
    assert decided[0].proposed


def test_every_program_is_called_once_in_a_step():
    called = []

    def numbers(order):
        called.append(set(order.programs))
        return alike()(order)

    run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    # Every slot asks for its own; the second iteration also for those that are known.
    alone = [key for keys in called if len(keys) == 1 for key in keys]
    assert sorted(alone) == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert [keys for keys in called if len(keys) > 1] == [{"0.0", "0.1", "0.2"}]


def test_a_slot_that_was_mended_to_its_last_attempt_is_judged_by_its_last_program():
    """That one is not compared while its slot is filled; numbers of the one before are not its own."""
    called = []

    def numbers(order):
        called.extend((key, program.source) for key, program in order.programs.items())
        copied = any(
            "Variant 1.11" in p.source or "Variant 1.10" in p.source
            for p in order.programs.values()
        )
        return alike(*(("0.0", "1.1") if copied else ("0.0",)))(order)

    ledger, _, _ = run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    mended = ledger.facts.iterations[1].candidates[1]
    assert "Variant 1.12" in mended.program.source
    assert mended.status == "trained"
    assert [source for key, source in called if key == "1.1"][-1] == mended.program.source


def test_a_program_whose_child_broke_while_its_slot_was_filled_is_asked_once_more():
    """A machine that was short of memory for a moment must not leave a program without its screens."""
    broken = set()

    def numbers(order):
        found = alike()(order)
        fresh = {key for key in order.programs if key[0] == "1"} - broken
        broken.update(fresh)
        left = {key: one for key, one in found.numbers.items() if key not in fresh}
        return replace(found, numbers=left, broken=dict.fromkeys(fresh, "no memory"))

    ledger, _, _ = run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    screens = [c.screens[0] for c in ledger.facts.iterations[1].candidates]
    assert [screen.verdict for screen in screens] == ["pass"] * 3


def test_rows_of_episodes_are_asked_for_once_with_every_new_program():
    """The screens show them to its author; known programs need none."""
    asked = []

    def numbers(order):
        asked.append((set(order.programs), set(order.asked)))
        return alike()(order)

    run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    of_second = [pair for pair in asked if any(key[0] == "1" for key in pair[0])]
    assert sorted(key for _, shown in of_second for key in shown) == ["1.0", "1.1", "1.2"]
    assert ({"0.0", "0.1", "0.2"}, set()) in asked


def test_why_a_program_breaks_is_told_beside_the_numbers_of_the_others():
    def numbers(order):
        found = alike()(order)
        left = {key: one for key, one in found.numbers.items() if key != "1.1"}
        return replace(
            found, numbers=left, broken={"1.1": "line 3"} if "1.1" in order.programs else {}
        )

    ledger, _, _ = run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    screens = [c.screens[0] for c in ledger.facts.iterations[1].candidates]
    assert [screen.verdict for screen in screens] == ["pass", "abstain", "pass"]
    assert "line 3" in screens[1].message


def test_a_job_without_screens_asks_for_no_numbers():
    def never(order):
        raise AssertionError("nobody asked for screens")

    ledger, _, _ = run_job(a_spec(), numbers=never)
    assert ledger.facts.status == "succeeded"


def test_only_evolution_asks_nobody():
    spec = a_spec(designer=DesignerChoice("evolution"))
    ledger, _, _ = run_job(spec)
    assert ledger.facts.preflight.estimate["asks"] == 0


def test_a_training_that_was_cut_off_is_ordered_to_go_on_from_what_was_saved():
    laboratory = PretendLaboratory(lambda arm, seed: 0.1)
    ledger = MemoryLedger(History(a_spec(), status="running"))
    tools = toolbox(ScriptedDesigner(good), laboratory)
    carry_out(read_step("preflight"), ledger, tools, watch=lambda progress: None)
    ledger.save([Saved("baseline", NATIVE, seed, 0, 400, f"sha of {seed}") for seed in (0, 1)])
    carry_out(read_step("baseline"), ledger, tools, watch=lambda progress: None)
    (order,) = laboratory.orders
    assert {m: saved.checkpoint for m, saved in order.saved.items()} == {
        (NATIVE, 0): "sha of 0",
        (NATIVE, 1): "sha of 1",
    }


# --- a turn that yields no program ------------------------------------------------------------


def lesr(words="`near` carries it all."):
    def script(ask):
        return words if ask.brief.kind == "analysis" else good(ask)

    return a_spec(method="lesr", iterations=2), script


def test_an_analysis_is_asked_after_each_iteration_and_shown_in_the_next_prompt():
    spec, script = lesr()
    ledger, designer, _ = run_job(spec, script)
    turns = [ask for ask in designer.asked if ask.brief.kind == "analysis"]
    assert [(ask.iteration, ask.slot, ask.attempt) for ask in turns] == [
        (0, ANALYSIS_SLOT, 0),
        (1, ANALYSIS_SLOT, 0),
    ]
    assert ledger.facts.iterations[0].feedback.analysis == "`near` carries it all."
    later = next(ask for ask in designer.asked if ask.iteration == 1)
    assert "`near` carries it all." in str(later.prompt)
    kinds = {e.kind for e in ledger.paid if e.slot == ANALYSIS_SLOT}
    assert kinds == {"analysis"}


@pytest.mark.parametrize("outcome", ["empty", "truncated", "refused"])
def test_an_analysis_that_did_not_come_is_no_trouble(outcome):
    spec, script = lesr(Reply("half a sen", outcome=outcome))
    ledger, _, _ = run_job(spec, script)
    assert ledger.facts.status == "succeeded"
    assert ledger.facts.iterations[0].feedback.analysis == ""


def reflecting(script):
    """A LESR job just before its first reflection."""
    spec, _ = lesr()
    designer = ScriptedDesigner(script)
    ledger = MemoryLedger(History(spec, status="running"))
    tools = toolbox(designer, PretendLaboratory(lambda arm, seed: 0.5))
    while step_key(next_steps(ledger.facts)[0]) != "reflect/0":
        carry_out(next_steps(ledger.facts)[0], ledger, tools, watch=lambda progress: None)
    return ledger, designer, tools


def test_an_analysis_that_was_paid_for_is_found_again():
    _, script = lesr()
    ledger, designer, tools = reflecting(script)
    carry_out(read_step("reflect/0"), ledger, tools, watch=lambda progress: None)
    *rest, last = ledger.facts.iterations
    ledger.facts = replace(ledger.facts, iterations=(*rest, replace(last, feedback=None)))
    carry_out(read_step("reflect/0"), ledger, tools, watch=lambda progress: None)
    assert len([ask for ask in designer.asked if ask.brief.kind == "analysis"]) == 1
    assert ledger.facts.iterations[0].feedback.analysis


def test_a_designer_that_is_away_lets_the_reflection_rest():
    def script(ask):
        if ask.brief.kind == "analysis":
            raise DesignerUnavailable("busy", retry_after_seconds=7.0)
        return good(ask)

    ledger, _, tools = reflecting(script)
    carry_out(read_step("reflect/0"), ledger, tools, watch=lambda progress: None)
    assert ledger.rests == [7.0]
    assert ledger.facts.iterations[0].feedback is None


# --- waiting for people -----------------------------------------------------------------------


def test_a_job_waits_for_people_and_tells_the_designer_what_they_said():
    spec = a_spec(method="text2reward", candidates=1, iterations=2, await_feedback=True)
    ledger, designer, _ = run_job(spec)
    assert ledger.facts.status == "awaiting_feedback"
    remark = Remark(0, "text", "0.0", text="Calmer, please.", iteration=0)
    ledger.facts = replace(ledger.facts, status="running", remarks=(remark,))
    tools = toolbox(designer, PretendLaboratory(lambda arm, seed: 0.5))
    while steps := next_steps(ledger.facts):
        carry_out(steps[0], ledger, tools, watch=lambda progress: None)
    assert ledger.facts.status == "succeeded"
    assert "Calmer, please." in str(designer.asked[-1].prompt)


def test_a_remark_that_came_first_keeps_the_job_from_waiting():
    spec = a_spec(method="text2reward", candidates=1, iterations=2, await_feedback=True)
    ledger, designer, _ = run_job(spec)
    remark = Remark(0, "text", "0.0", text="Calmer, please.", iteration=0)
    ledger.facts = replace(ledger.facts, status="running", remarks=(remark,))
    carry_out(read_step("await/0"), ledger, toolbox(designer, None), watch=lambda progress: None)
    assert ledger.facts.status == "running"


# --- what is designed -------------------------------------------------------------------------


def test_a_reward_is_sent_back_where_only_features_are_designed():
    features = (
        'import numpy as np\n\n\ndef features(obs):\n    return {"gap": obs.position - 1.0}\n'
    )

    def script(ask):
        source = features.replace("1.0", f"{ask.slot + 1}.0") if ask.attempt else SOURCE
        return REPLY.format(source=source)

    ledger, designer, _ = run_job(a_spec(iterations=1, design="features"), script)
    programs = [c.program for c in ledger.facts.iterations[0].candidates]
    assert [(p.has_reward, p.has_features) for p in programs] == [(False, True)] * 2
    assert "`features` alone" in designer.asked[-1].brief.repair.message


def test_a_turn_about_features_keeps_the_reward():
    features = '\n\ndef features(obs):\n    return {"gap": obs.position - 1.0}\n'

    def script(ask):
        if ask.brief.operator != "features":
            return good(ask)
        kept = ask.brief.parents[0].program.source
        source = kept if ask.attempt else kept.replace(") /", " - 1.0) /")
        return REPLY.format(source=source + features)

    ledger, designer, _ = run_job(a_spec(iterations=2, candidates=6), script)
    asks = [ask for ask in designer.asked if ask.brief.operator == "features"]
    assert "another `reward`" in asks[1].brief.repair.message
    (made,) = (c for c in ledger.facts.iterations[1].candidates if c.operator == "features")
    assert made.status == "trained"
    assert made.program.has_features


# --- beside the design ------------------------------------------------------------------------

LEARNER = {"library": "sb3", "algorithm": "PPO", "steps": 5_000}


def test_what_is_asked_for_beside_the_design_is_ordered_from_the_laboratory():
    evaluation = replace(
        a_spec().evaluation, fitness_alone=True, ablate=True, transfer=LEARNER, confirm_seeds=5
    )
    spec = a_spec(evaluation=evaluation)
    ledger, _, laboratory = run_job(
        spec, fitness=lambda arm, seed: {NATIVE: 0.1, FITNESS: 0.3}.get(arm, 0.9)
    )
    outcome = ledger.facts.outcome
    assert (outcome.fitness_alone.mean, outcome.normalised) == (0.3, pytest.approx(3.0))
    assert outcome.transfer["verdict"] == "better"
    alone = [order for order in laboratory.orders if FITNESS in order.arms]
    assert {order.stage for order in alone} == {"baseline", "confirm"}
    assert all(set(order.arms) == {FITNESS} for order in alone)
    theirs = [order for order in laboratory.orders if order.stage == "transfer"]
    assert {(o.learner["algorithm"], o.start_steps, o.stop_steps) for o in theirs} == {
        ("PPO", 0, 5_000)
    }
    assert not any(order.learner for order in laboratory.orders if order.stage != "transfer")


def test_a_learner_that_is_not_there_ends_the_job_before_anything_is_asked():
    class Bare(PretendLaboratory):
        def require_learner(self, learner, watch):
            raise InvalidInput("no such learner", hint="pip install it")

    spec = a_spec(evaluation=replace(a_spec().evaluation, transfer=LEARNER))
    ledger, designer = MemoryLedger(History(spec)), ScriptedDesigner(good)
    tools = toolbox(designer, Bare(lambda arm, seed: 0.5))
    carry_out(read_step("preflight"), ledger, tools, watch=lambda progress: None)
    assert "pip install it" in ledger.facts.failure
    assert not designer.asked


# --- what cost nothing ------------------------------------------------------------------------


def a_replaying(script):
    designer = ScriptedDesigner(script)
    designer.name = "replay"
    return designer


def test_what_cost_nothing_is_stored_at_once_when_the_step_ends():
    ledger = MemoryLedger(a_history(spec=a_spec(iterations=1, candidates=3)))

    def script(ask):
        assert not ledger.paid
        assert not ledger.facts.iterations
        return good(ask)

    tools = toolbox(a_replaying(script), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    (iteration,) = ledger.facts.iterations
    assert iteration.proposed
    assert [c.status for c in iteration.candidates] == ["proposed"] * 3
    assert sorted((e.slot, e.attempt) for e in ledger.paid) == [(0, 0), (1, 0), (2, 0)]


def test_of_a_step_that_cannot_end_what_is_ready_is_stored():
    ledger = MemoryLedger(a_history(spec=a_spec(iterations=1, candidates=3)))

    def script(ask):
        if ask.slot == 1:
            raise DesignerUnavailable("no record", retry_after_seconds=5.0)
        return good(ask)

    tools = toolbox(a_replaying(script), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    (iteration,) = ledger.facts.iterations
    assert not iteration.proposed
    assert [c.number for c in iteration.candidates] == [0, 2]
    assert sorted(e.slot for e in ledger.paid) == [0, 2]
    assert ledger.rests == [5.0]


def test_what_is_filled_is_stored_where_the_screens_cannot_be_had():
    class Broken(PretendLaboratory):
        def check_and_screen(self, key, order):
            return replace(super().check_and_screen(key, order), screening=None)

        def screen(self, order, watch):
            raise SandboxFailed("no zygote")

    ledger = MemoryLedger(a_history(spec=a_spec(iterations=1, candidates=2, **SCREENED)))
    tools = toolbox(a_replaying(good), Broken(lambda arm, seed: 0.5, numbers=alike()))
    with pytest.raises(SandboxFailed):
        carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    (iteration,) = ledger.facts.iterations
    assert not iteration.proposed
    assert [c.status for c in iteration.candidates] == ["proposed"] * 2
    assert len(ledger.paid) == 2


def test_a_repair_is_told_between_the_attempts_that_it_parts():
    def script(ask):
        return "no code" if ask.attempt == 0 else good(ask)

    ledger = MemoryLedger(a_history(spec=a_spec(iterations=1, candidates=1)))
    given = []
    store = ledger.end_proposing
    ledger.end_proposing = lambda number, screened, filled: (
        given.extend(filled),
        store(number, screened, filled),
    )
    tools = toolbox(a_replaying(script), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    (filled,) = given
    first, repair, second = filled.before
    assert (first.attempt, repair.kind, second.attempt) == (0, "candidate.repair", 1)
    assert [kind for kind, _ in ledger.events] == ["candidate.repair"]
