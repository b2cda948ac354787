"""What is asked of a designer is paid for once, waited for, and given up with its step."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from core.errors import (
    ClaimLost,
    DesignerUnavailable,
    StepInterrupted,
    WorkerStopping,
)
from core.loop import next_steps, read_step, step_key
from core.records.asking import Reply
from core.records.history import History
from core.records.kinds import ANALYSIS_SLOT
from core.records.spec import Context
from core.records.task import Field
from core.steps import CONCURRENT_ASKS, carry_out
from tests.builders import a_history, a_preflight, a_spec
from tests.fakes import MemoryLedger, PretendLaboratory, ScriptedDesigner
from tests.heart.whole_jobs import good, run_job, toolbox


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


def ending(*after, patience=30.0):
    """Return a watch of a worker that is to end, and what it says after the first time."""
    said = iter(after)

    def watch(progress):
        raise next(said) if watch.asked else WorkerStopping("ends", patience_seconds=patience)

    def counted(progress):
        try:
            watch(progress)
        finally:
            watch.asked = bool(after)

    watch.asked = False
    return counted


def late(ask):
    assert ask.given_up.wait(30), "the step ended and did not say so"
    return good(ask)


def test_a_worker_that_is_to_end_waits_for_answers_that_are_on_their_way():
    """It still owns the step, so that nobody asks the same meanwhile."""
    ledger, designer = MemoryLedger(a_history()), ScriptedDesigner(late)
    tools = toolbox(designer, PretendLaboratory(lambda arm, seed: 0.5))
    with pytest.raises(WorkerStopping):
        carry_out(read_step("propose/0"), ledger, tools, watch=ending())
    assert len(ledger.paid) == len(designer.asked) == a_spec().candidates
    heir = ScriptedDesigner(good)
    tools = toolbox(heir, PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    assert not heir.asked
    assert len(ledger.facts.iterations[0].candidates) == a_spec().candidates


def test_a_worker_that_is_to_end_asks_nothing_that_it_had_not_asked():
    spec = a_spec(candidates=40)
    ledger, designer = MemoryLedger(a_history(spec=spec)), ScriptedDesigner(late)
    tools = toolbox(designer, PretendLaboratory(lambda arm, seed: 0.5))
    with pytest.raises(WorkerStopping):
        carry_out(read_step("propose/0"), ledger, tools, watch=ending())
    assert len(designer.asked) == len(ledger.paid) == CONCURRENT_ASKS


@pytest.mark.parametrize("error", [ClaimLost("another has it"), StepInterrupted("cancelled")])
def test_it_waits_no_longer_for_a_step_that_is_lost_or_not_wanted_any_more(error):
    over = threading.Event()

    def silent(ask):
        over.wait(30)
        raise DesignerUnavailable("nobody answers")

    tools = toolbox(ScriptedDesigner(silent), PretendLaboratory(lambda arm, seed: 0.5))
    with pytest.raises(type(error)):
        carry_out(read_step("propose/0"), MemoryLedger(a_history()), tools, watch=ending(error))
    over.set()


def test_nor_longer_than_it_has():
    over = threading.Event()

    def silent(ask):
        over.wait(30)
        raise DesignerUnavailable("nobody answers")

    tools = toolbox(ScriptedDesigner(silent), PretendLaboratory(lambda arm, seed: 0.5))
    with pytest.raises(WorkerStopping):
        carry_out(
            read_step("propose/0"), MemoryLedger(a_history()), tools, watch=ending(patience=0.0)
        )
    over.set()


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
