"""Whole jobs in one process with a pretended outside world."""

from __future__ import annotations

from core.loop import next_steps
from core.records.history import History
from core.records.kinds import NATIVE
from core.steps import carry_out
from core.toolbox import Toolbox
from core.tuning import propose_params
from tests.builders import SOURCE
from tests.fakes import REPLY, MemoryLedger, PretendLaboratory, ScriptedDesigner


def good(ask, note=""):
    """A sound reply with a target of its own, not that of `SOURCE`: a copy would be rejected."""
    place = f"{ask.iteration}.{ask.slot}{ask.attempt}"
    source = SOURCE.replace("Stay near", f"Variant {place}{note}: stay near")
    return REPLY.format(source=source.replace("- 1.0", f"- 1{place}"))


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
