"""Workers that are at one job at the same time, and what each may begin or end meanwhile."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from core.loop import Reflect, next_steps, step_key
from core.records.asking import Reply, Usage
from core.records.kinds import NATIVE
from core.records.rounds import Feedback
from core.records.spec import Budget, DesignerChoice, Training
from core.toolbox import Toolbox
from tests.builders import a_preflight, a_run, a_spec, proposed
from tests.fakes import PretendLaboratory, ScriptedDesigner
from tests.heart.whole_jobs import good, toolbox
from tests.rim.storing import LONG, a_claim, a_job, kinds, propose, until
from workers.carrying import Carrier


@dataclass(frozen=True)
class OpenBench:
    """A bench on which everything may run."""

    tools: Toolbox

    def permit(self, history): ...


def a_worker(store, designer, laboratory=None, name="worker") -> Carrier:
    laboratory = laboratory or PretendLaboratory(lambda arm, seed: 0.9)
    return Carrier(store, OpenBench(toolbox(designer, laboratory)), name, LONG)


def ready(store, **spec):
    """A job with a paid designer, of which nothing is missing before its first proposal."""
    job = a_job(store, a_spec(designer=DesignerChoice("openai"), screens=(), **spec))
    with a_claim(store, job.id, "preflight") as step:
        step.add_preflight(a_preflight())
    with a_claim(store, job.id, "baseline") as step:
        step.add_runs([a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in range(2)], {})
    return job


def measured(store, job):
    """Bring the first iteration of a job to its end."""
    with a_claim(store, job.id, "propose/0") as step:
        propose(step, proposed(0), proposed(1))
    with a_claim(store, job.id, "train/0/0/0") as step:
        step.add_runs([a_run(f"0.{n}", 0.5, seed=s) for n in (0, 1) for s in (0, 1)], {})
    with a_claim(store, job.id, "reflect/0") as step:
        step.add_feedback(Feedback(0, "told", best="0.0"))


@pytest.mark.parametrize("number", [0, 1], ids=["the first", "a later one"])
def test_answers_that_use_up_the_budget_do_not_end_the_job_under_their_own_proposal(store, number):
    job = ready(store, budget=Budget(tokens=20_000))
    if number:
        measured(store, job)
    checking, go_on = threading.Event(), threading.Event()

    def check(program):
        checking.set()
        go_on.wait(30)

    designer = ScriptedDesigner(
        lambda ask: Reply(good(ask), model="m", usage=Usage(1_000, 19_000)), name="openai"
    )
    first = a_worker(store, designer, PretendLaboratory(lambda arm, seed: 0.9, refuse=check))
    step = (job.id, f"propose/{number}")
    at_work = threading.Thread(target=first.carry_out_now, args=step)
    at_work.start()
    try:
        assert checking.wait(30)
        wanted = [step_key(one) for one in next_steps(store.history(job.id))]
        for key in ["finish", "confirm/0"]:
            assert not a_worker(store, designer, name="second").carry_out_now(job.id, key)
    finally:
        go_on.set()
        at_work.join()
    assert wanted == []
    assert store.job(job.id).status == "running"
    assert kinds(store, job.id)[-1] == "iteration.proposed"


def test_a_worker_that_comes_late_does_not_begin_a_rung_that_the_budget_refuses(store):
    """Its message waited while the budget was used up; that it has claimed the step begins nothing."""
    training = Training(steps=1000, seeds=1, packs=1, rungs=(0.5, 1.0))
    job = ready(store, training=training, budget=Budget(env_steps=1))
    with a_claim(store, job.id, "propose/0") as step:
        propose(step, proposed(0), proposed(1))
    with a_claim(store, job.id, "train/0/0/0") as step:
        step.add_runs([a_run("0.0", 0.5), a_run("0.1", 0.4)], {})
    laboratory = PretendLaboratory(lambda arm, seed: 0.9)
    late = a_worker(store, ScriptedDesigner(good), laboratory)
    assert not late.carry_out_now(job.id, "train/0/1/0")
    assert laboratory.orders == []
    assert next_steps(store.history(job.id)) == (Reflect(0),)


def test_a_claim_is_renewed_from_its_start_however_long_it_takes_to_begin(store):
    job = ready(store)
    tools = toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.9))
    renewed = threading.Event()

    class SlowToPermit(OpenBench):
        def permit(self, history):
            until(lambda: store.activity(job.id)[0].progress)
            renewed.set()

    worker = Carrier(store, SlowToPermit(tools), "worker", lease_seconds=5.0)
    assert worker.carry_out_now(job.id, "propose/0")
    assert renewed.is_set()
