"""Whole design jobs in one process: real laboratory and trainer, scripted programs, facts in memory."""

from __future__ import annotations

from collections.abc import Callable

from core.loop import next_steps
from core.records.asking import Ask
from core.records.history import History
from core.records.spec import JobSpec
from core.steps import carry_out
from core.toolbox import Toolbox
from core.training.held_out import held_out_seeds
from core.training.laboratory import Laboratory
from core.tuning import propose_params
from tests.fakes import REPLY, MemoryLedger, ScriptedDesigner


def design(laboratory: Laboratory, spec: JobSpec, source: Callable[[Ask], str]) -> MemoryLedger:
    """Carry a job out to its end; `source` writes the program of every slot."""
    designer = ScriptedDesigner(lambda ask: REPLY.format(source=source(ask)))
    ledger = MemoryLedger(History(spec, status="running"), job_id=f"job_{spec.seed}")

    def held_out(job: str, iteration: int, rung: int, count: int) -> tuple[int, ...]:
        return held_out_seeds(b"a secret of the tests", job, iteration, rung, count)

    tools = Toolbox(lambda spec: designer, laboratory, held_out, propose_params)
    for _ in range(200):
        if not (steps := next_steps(ledger.facts)):
            return ledger
        carry_out(steps[0], ledger, tools, watch=lambda progress: None)
    raise AssertionError("the job does not end")


def paying(components: str) -> str:
    """A program that returns the given dict."""
    return (
        "import numpy as np\n\n\n"
        "def reward(obs, action, next_obs, params):\n"
        f"    return {components}\n"
    )
