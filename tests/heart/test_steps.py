"""A whole job in one process with pretended outside world: what is ordered, stored and decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.desk import MAX_REPAIRS
from core.errors import (
    ClaimLost,
    EnvironmentUnusable,
    InvalidInput,
    StepInterrupted,
)
from core.loop import next_steps, read_step
from core.records.asking import Reply
from core.records.history import History
from core.records.kinds import FITNESS, NATIVE
from core.records.measured import Saved
from core.records.people import Remark
from core.records.rounds import Iteration
from core.records.spec import Budget, DesignerChoice, Training
from core.steps import carry_out
from tests.builders import SOURCE, a_history, a_run, a_spec, proposed
from tests.fakes import REPLY, MemoryLedger, PretendLaboratory, ScriptedDesigner
from tests.heart.whole_jobs import good, run_job, toolbox


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


class Interrupted(MemoryLedger):
    """A ledger of a worker that dies between two facts."""

    def event(self, *given, **more):
        raise ClaimLost("dead by now")


def test_how_the_fitness_is_read_is_told_with_the_preflight():
    ledger = Interrupted(a_history(preflight=None))
    tools = toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("preflight"), ledger, tools, watch=lambda progress: None)
    ((kind, message),) = ledger.events
    assert (kind, message[:8]) == ("log", "Fitness:")


def test_a_budget_that_ends_an_iteration_is_told_of_with_its_feedback():
    untrained = Iteration(0, (proposed(0),), proposed=True)
    spec = a_spec(budget=Budget(env_steps=1))
    ledger = Interrupted(a_history(untrained, spec=spec))
    tools = toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("reflect/0"), ledger, tools, watch=lambda progress: None)
    assert ledger.facts.iterations[0].feedback is not None
    assert [kind for kind, _ in ledger.events] == ["log"]


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


def test_a_watch_that_stops_leaves_no_result():
    def stop(progress):
        raise StepInterrupted("cancelled")

    ledger = MemoryLedger(a_history(native=()))
    tools = toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.5))
    with pytest.raises(StepInterrupted):
        carry_out(read_step("baseline"), ledger, tools, watch=stop)
    assert not ledger.facts.native


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
