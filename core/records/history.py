"""A job as the loop sees it: every stored fact, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from core.records.asking import Example
from core.records.kinds import JobStatus
from core.records.measured import Preflight, Report, Rollout, Run
from core.records.outcome import Outcome
from core.records.people import Given, Remark
from core.records.rounds import Iteration
from core.records.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Spent:
    """What a job has used so far, summed from stored facts."""

    env_steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    money: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """Every stored fact of a job that decides what comes next, as one value.

    `claimed` are the keys of steps that a living worker owns; `native` are the baseline's runs and
    `fitness_alone` those of the arm that trains on the fitness; `runoffs`, `confirmations`, `ablations`
    and `transfers` are the runs of those stages, all arms; `given` and `remarks` are what people handed
    in and said.  `extensions` counts how often the job went on after a confirmation had begun: each
    confirmation has fresh seeds, and `confirmations` holds the present one's runs alone, `rollouts`
    what was filmed of them and for people to judge.  `importing`: no worker has taken in yet what it
    is an import of.  `examples` are the library's designs that prompts show, chosen once.
    """

    spec: JobSpec
    status: JobStatus = "queued"
    cancel_requested: bool = False
    pause_requested: bool = False
    preflight: Preflight | None = None
    native: tuple[Run, ...] = ()
    iterations: tuple[Iteration, ...] = ()
    confirmations: tuple[Run, ...] = ()
    outcome: Outcome | None = None
    failure: str | None = None
    claimed: frozenset[str] = frozenset()
    spent: Spent = Spent()
    native_report: Report | None = None
    fitness_alone: tuple[Run, ...] = ()
    ablations: tuple[Run, ...] = ()
    transfers: tuple[Run, ...] = ()
    given: tuple[Given, ...] = ()
    remarks: tuple[Remark, ...] = ()
    extensions: int = 0
    examples: tuple[Example, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    runoffs: tuple[Run, ...] = ()
    importing: bool = False
