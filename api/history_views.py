"""What the API answers of a job's history: candidates, runs, iterations, exchanges."""

from __future__ import annotations

from pydantic import BaseModel, Field

from api.schemas import JsonObject
from api.views import IntervalView
from core.records import kinds


class CheckView(BaseModel):
    """One verdict on a program."""

    rule: str
    passed: bool
    message: str


class ScreenView(BaseModel):
    """What a screen says of a program before any training."""

    name: str
    verdict: kinds.ScreenVerdict
    score: float | None = Field(description="The number that decided; none where it abstains.")
    message: str
    other: str | None = Field(description="Id of the candidate that it was compared with.")


class ProgramView(BaseModel):
    """The program without its text, which is under `code`."""

    sha256: str
    has_reward: bool
    has_features: bool
    params: dict[str, float]
    bounds: dict[str, tuple[float, float]]
    components: list[str]
    features: list[str]
    microseconds_per_row: float | None


class TermView(BaseModel):
    """A component, feature or observation dimension over recorded steps of the trained policy."""

    mean: float
    std: float
    low: float
    high: float
    share: float = Field(description="Of all that is paid; for components.")
    saturated: float = Field(description="Share of steps at its lowest or highest value.")
    zero: float = Field(description="Share of steps at exactly 0.")
    correlation: float | None = Field(
        description="Rank correlation of its sum over an episode with the episode's fitness."
    )
    by_checkpoint: list[float] = Field(description="Mean per step over training; for components.")
    smooth: float | None = Field(
        description="How much the fitness signal changes between neighbouring values, both in "
        "standard deviations (95th percentile over 64 quantile bins); lower is smoother."
    )
    explains: float | None = Field(
        description="Share of the fitness signal's variance that its value explains, 0 to 1."
    )
    redundant: float | None = Field(
        description="Largest |correlation| with another dimension or feature, 0 to 1."
    )
    used: float | None = Field(
        description="Share of the policy's sensitivity that goes to it, 0 to 1."
    )
    lipschitz: float | None = Field(
        description="LESR's constant of the environment's reward, in the paper's form."
    )


class ReportView(BaseModel):
    """What is known of a candidate's behaviour beyond its fitness."""

    components: dict[str, TermView]
    features: dict[str, TermView]
    inputs: dict[str, TermView] = Field(
        description="The observation's own dimensions, by field or `field[i]`; the 64 used most."
    )
    episode_length: float
    terminated: float
    episodes: dict[str, list[JsonObject]]
    unexamined: str = Field(description="Why there are no terms; empty if there are.")


class WallsView(BaseModel):
    """What stood around generated code when it was run."""

    level: int = Field(description="Isolation level; 3 is the default requirement.")
    waived: bool = Field(description="Whether the operator let walls weaker than level 3 do.")


class CandidateView(BaseModel):
    """One reply of the designer and everything that became of it."""

    id: str
    job_id: str
    key: str
    iteration: int
    number: int
    operator: kinds.Operator
    status: kinds.CandidateStatus
    parents: list[str] = Field(description="Ids of the candidates that it was made from.")
    analysis: str
    prediction: str
    fitness: IntervalView | None = Field(
        description="Over its runs at the highest rung it reached."
    )
    rejection: str | None
    given: int | None = Field(description="Number of the program that people handed in.")
    arm: str | None = Field(description="The arm by which it was asked for, in a job with arms.")
    tokens: int = Field(description="Of all questions and answers of its slot.")
    money: float = Field(description="US dollars that these cost, as far as the price is known.")
    walls: WallsView | None = Field(
        description="Around its check; null if none of it was ever run."
    )
    checks: list[CheckView]
    screens: list[ScreenView]
    saved_steps: int = Field(
        description="Environment steps of its first rung that a screen saved, all seeds together."
    )
    program: ProgramView | None
    report: ReportView | None
    links: dict[str, str]


class FeedbackView(BaseModel):
    """What was told to the designer after an iteration."""

    text: str
    best: str | None
    diagnoses: list[str]
    data: JsonObject
    analysis: str = Field(
        description="What the designer itself made of it, where the method asks; else empty."
    )


class IterationView(BaseModel):
    """One round: its candidates and what was learnt."""

    number: int
    proposed: bool
    candidates: list[CandidateView]
    feedback: FeedbackView | None


class CurveView(BaseModel):
    """What a run said of itself while training; feedback, never rank."""

    steps: list[int]
    series: dict[str, list[float]]


class RunView(BaseModel):
    """One training of one arm with one seed up to one rung, and its measured fitness."""

    id: str
    job_id: str
    stage: kinds.Stage
    arm: str
    seed: int
    rung: int
    status: kinds.RunStatus
    fitness: float | None
    episodes: list[float]
    checkpoints: list[tuple[int, float]] = Field(description="(environment steps, fitness).")
    env_steps: int
    seconds: float
    failure: str | None
    isolation_level: int = Field(
        description="Of the walls around it; 3 is the default requirement."
    )
    isolation_waived: bool = Field(
        description="Whether the operator let it run behind weaker walls than level 3."
    )
    nondeterministic: bool = Field(
        description="Whether its policy lived other steps when it was measured again on the same seeds."
    )
    canaries: kinds.Canaries = Field(
        description="What came of the policies of known fitness that were measured with it."
    )
    adapter: str = Field(description="The environment layer, such as numpy or mujoco-batch.")
    backend: str = Field(description="What computed the networks, such as kernel or torch.")


class RunWithCurveView(RunView):
    """A run with its learning curve."""

    curve: CurveView | None


class MessageView(BaseModel):
    """One message of a prompt."""

    role: str
    text: str


class UsageView(BaseModel):
    """Tokens of one exchange; null where the endpoint did not say."""

    prompt_tokens: int | None
    completion_tokens: int | None


class ExchangeView(BaseModel):
    """One question to the designer and its answer, as they were sent."""

    iteration: int
    slot: int = Field(description="-1 for a turn that yields no program.")
    attempt: int
    kind: kinds.ExchangeKind
    designer: str
    prompt: list[MessageView]
    reply: str
    outcome: kinds.ReplyOutcome
    detail: str
    model: str
    finish_reason: str | None
    usage: UsageView
    temperature: float | None = Field(
        description="That the model was asked to sample with; null for the endpoint's own."
    )
    latency_seconds: float
    notes: list[str]


class ArmView(BaseModel):
    """What closed iterations taught of one way of asking."""

    name: str
    model: str | None = Field(description="That it asks; null for the server's usual one.")
    temperature: float | None
    leaning: str
    feedback: kinds.FeedbackForm
    asked: int = Field(description="Candidates that it was asked for.")
    improved: int = Field(
        description="How many of them beat the incumbent beyond their standard error."
    )
    alpha: float = Field(description="Of the Beta distribution of its chance of an improvement.")
    beta: float
    mean: float = Field(description="Of that distribution.")
    deviation: float = Field(description="Its standard deviation.")
    tokens: float = Field(description="Mean of a candidate's questions and answers.")
    money: float = Field(description="US dollars, mean of a candidate's questions.")
    cost: float = Field(
        description="Of a candidate, its training included, in means over all arms of what a "
        "candidate's questions cost."
    )


class ArmList(BaseModel):
    """The arms in the job's order; empty for a job without any."""

    data: list[ArmView]


class RunList(BaseModel):
    """Runs in order of stage, rung and seed."""

    data: list[RunView]


class IterationList(BaseModel):
    """Iterations in order."""

    data: list[IterationView]


class ExchangeList(BaseModel):
    """Exchanges in order of iteration, slot and attempt."""

    data: list[ExchangeView]
