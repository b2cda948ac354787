"""What a designer is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event

from core.records.kinds import Design, ExchangeKind, Json, Mode, Operator, ReplyOutcome, Smoothness
from core.records.measured import Preflight, Report
from core.records.people import Given, Remark
from core.records.rounds import Candidate, Feedback
from core.records.spec import Context, Training, Variant
from core.records.task import Task


@dataclass(frozen=True, slots=True)
class Example:
    """A finished design of the library, as it is shown to a designer."""

    job: str
    task: str
    description: str
    source: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages in order; each is (role, text) with role system, user or assistant."""

    messages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """A reply that failed its check, to be mended, or a duplicate, to be replaced by another design."""

    reply: str
    message: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Brief:
    """What a designer is asked to do in one slot of one iteration.

    `parents` come best first, with their statistics.  `history` is every candidate so far.
    `repair` is set when an earlier attempt in the same slot failed its check.  `training` and
    `weight` (of add mode) tell how a program will be used.  `kind` is `analysis` for a turn that yields
    no program.  `remarks` are what people said, `given` the program that people handed in.  `native` is
    the fitness of each baseline run, `answer` the number of this one among the `answers` to the very
    same question, and `predictions` what became of the claims of each candidate.  `variant` is the arm
    by which the slot is asked, None in a job without arms.  `screens` are those of the job.
    """

    task: Task
    iteration: int
    slot: int
    operator: Operator
    mode: Mode
    seed: int
    parents: tuple[Candidate, ...] = ()
    history: tuple[Candidate, ...] = ()
    feedback: Feedback | None = None
    baseline: float | None = None
    preflight: Preflight | None = None
    repair: Repair | None = None
    training: Training | None = None
    weight: float | None = None
    kind: ExchangeKind = "program"
    design: Design = "joint"
    smoothness: Smoothness = "windowed"
    context: Context = Context()
    remarks: tuple[Remark, ...] = ()
    examples: tuple[Example, ...] = ()
    given: Given | None = None
    analyses: tuple[str, ...] = ()
    native_report: Report | None = None
    native: tuple[float, ...] = ()
    answer: int = 1
    answers: int = 1
    predictions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variant: Variant | None = None
    screens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a designer, under its natural key (iteration, slot, attempt).

    `temperature` is what the method advises; what the brief's variant or the job names counts more.
    `given_up` is set once nobody waits for the answer any more: what was not sent by then never is.
    """

    iteration: int
    slot: int
    attempt: int
    brief: Brief
    prompt: Prompt
    temperature: float | None = None
    given_up: Event = field(default_factory=Event, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one exchange; None where the endpoint did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whatever it was.  `request` and `response` are the raw exchange, no secrets."""

    text: str
    outcome: ReplyOutcome = "answered"
    detail: str = ""
    model: str = ""
    request_id: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    latency_seconds: float = 0.0
    request: Json = field(default_factory=dict)
    response: Json = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One stored question and answer."""

    iteration: int
    slot: int
    attempt: int
    prompt: Prompt
    reply: Reply
    designer: str
    kind: ExchangeKind = "program"
    money: float = 0.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A reply, read: the designer's analysis, its prediction, and the code block."""

    analysis: str
    prediction: str
    source: str
