"""One round of a job: its candidates, with everything that became of them, and what was told."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.records.kinds import CandidateStatus, Json, Operator
from core.records.measured import Report, Run, Walls
from core.records.programs import Check, Program, ProgramShape, Screen


@dataclass(frozen=True, slots=True)
class Candidate:
    """One reply of the designer and everything that became of it.  Key: (iteration, number).

    Attributes:
        screens:     what the screens said, in order.
        saved_steps: environment steps that were not spent because a screen kept it from training.
        given:       number of the program that people handed in, None if the designer wrote it.
        arm:         arm of the bandit over prompts and models by which it was asked, None without one.
        tokens:      of all questions and answers of its slot.
        money:       that these cost, in US dollars; 0 where the price is not known.
        walls:       behind which its check ran it; None if nothing of it was ever run there.
    """

    iteration: int
    number: int
    operator: Operator
    status: CandidateStatus
    parents: tuple[str, ...] = ()
    analysis: str = ""
    prediction: str = ""
    program: Program | None = None
    shape: ProgramShape | None = None
    checks: tuple[Check, ...] = ()
    rejection: str | None = None
    runs: tuple[Run, ...] = ()
    report: Report | None = None
    screens: tuple[Screen, ...] = ()
    saved_steps: int = 0
    given: int | None = None
    arm: str | None = None
    tokens: int = 0
    money: float = 0.0
    walls: Walls | None = None

    @property
    def key(self) -> str:
        """The candidate's natural key inside its job, e.g. "0.3"."""
        return f"{self.iteration}.{self.number}"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is told to the designer after an iteration, as text and as data.

    `analysis` is what the designer itself said of the results, where the method asks it (LESR).
    """

    iteration: int
    text: str
    best: str | None
    diagnoses: tuple[str, ...] = ()
    data: Json = field(default_factory=dict)
    analysis: str = ""


@dataclass(frozen=True, slots=True)
class Iteration:
    """One round.  `proposed` is true once every slot has its candidate."""

    number: int
    candidates: tuple[Candidate, ...] = ()
    proposed: bool = False
    feedback: Feedback | None = None
