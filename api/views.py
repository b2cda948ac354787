"""What the API answers: stored records, in the shape that the documentation shows."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from api.errors import Problem
from api.schemas import FieldBody, FitnessBody, JsonObject, SpecBody
from core.records import kinds

T = TypeVar("T")


class IntervalView(BaseModel):
    """A mean with its 95 % interval over n training seeds."""

    mean: float
    low: float
    high: float
    n: int


class AblatedView(BaseModel):
    """The design without one of its terms, after the first rung, against the whole of it."""

    kind: kinds.TermKind
    name: str
    fitness: IntervalView
    difference: float = Field(description="Its fitness without the term, minus that with it.")
    verdict: kinds.Verdict = Field(
        description="`worse` where the design is worse without it; not corrected for their number."
    )


class TransferView(BaseModel):
    """The design under your own learner, beside the native reward under it, on the fresh seeds."""

    library: str
    algorithm: str
    steps: int = Field(description="Environment steps per run.")
    native: IntervalView
    designed: IntervalView
    verdict: kinds.Verdict


class OutcomeView(BaseModel):
    """How the job ended: the chosen design against the native reward on fresh seeds."""

    verdict: kinds.Verdict
    best: str | None = Field(description="Id of the chosen candidate.")
    native: IntervalView
    designed: IntervalView | None
    native_iqm: float
    designed_iqm: float | None
    probability_of_improvement: float | None
    sentence: str
    fitness_alone: IntervalView | None = Field(
        default=None,
        description="The arm that was trained on the fitness alone, on the same seeds.",
    )
    normalised: float | None = Field(
        default=None,
        description="(designed − fitness alone) / |native − fitness alone|; null where the interval of "
        "that difference holds 0.",
    )
    ablation: list[AblatedView] = Field(
        default=[], description="What each term of the design is worth, where that was asked for."
    )
    transfer: TransferView | None = Field(
        default=None,
        description="Whether the design holds under your own learner, if one was named.",
    )


class CountsView(BaseModel):
    """How many candidates there are, and what became of them."""

    proposed: int = 0
    rejected: int = Field(default=0, description="By a check or by a screen.")
    screened: int = Field(default=0, description="How many of the rejected a screen kept back.")
    trained: int = 0
    failed: int = 0


class SpentView(BaseModel):
    """What the job has used so far."""

    env_steps: int
    tokens: int
    seconds: float
    money: float = Field(description="US dollars for the designer, by the price table.")


class EstimateView(BaseModel):
    """What the whole job will use at most."""

    env_steps: int
    seconds: float | None = Field(
        default=None,
        description="About how long it will train, by what the preflight measured; null before it. "
        "Measuring, and a model's thinking, come on top.",
    )


class PlanView(BaseModel):
    """What a job would use at most, by its request alone."""

    env_steps: int
    asks: int = Field(description="Questions to a model, repairs left out.")
    tokens: int = Field(description="A guess, from the length of the first prompt.")
    money: float | None = Field(
        description="US dollars for the designer; null if the model's price is not known."
    )
    seconds: float | None = Field(description="Null: the preflight will tell.")
    notes: list[str] = Field(description="What was assumed, in words.")


class BestView(BaseModel):
    """The best candidate so far, by its fitness in the search."""

    id: str
    key: str
    fitness: float | None


class LinksView(BaseModel):
    """Where to go on."""

    self: str
    events: str
    iterations: str
    candidates: str
    best: str
    reward_file: str
    bundle: str
    rollouts: str
    artifacts: str
    feedback: str
    programs: str


class ActivityView(BaseModel):
    """What a living worker is doing for the job right now."""

    step: str
    phase: str
    done: int
    total: int
    note: str
    age_seconds: float


class WebhookView(BaseModel):
    """Who is told of the job's events."""

    url: str
    events: list[kinds.WebhookEvent]
    secret: str | None = Field(
        default=None, description="Only in the answer to the request that submitted the job."
    )


class AttemptView(BaseModel):
    """One attempt to deliver a message."""

    at: datetime
    status: int | None = Field(description="Of the answer; null if there was none.")
    error: str = Field(description="Why there was none; empty if there was one.")
    seconds: float


class DeliveryView(BaseModel):
    """A message to the job's webhook."""

    id: str = Field(description="Its `webhook-id`, the same in every attempt.")
    number: int = Field(description="Of the event that it tells of.")
    type: str
    status: Literal["waiting", "delivered", "failed"]
    created_at: datetime
    next_at: datetime | None = Field(description="When it is tried next, if it waits.")
    attempts: list[AttemptView] = Field(description="The last 20, oldest first.")


class DeliveryPage(BaseModel):
    """Messages in order; go on with `after` = `next`."""

    data: list[DeliveryView]
    next: int


class JobView(BaseModel):
    """A design job."""

    id: str
    name: str | None
    notes: str | None = Field(description="Markdown, as it was written down.")
    labels: dict[str, str]
    key_id: str | None = Field(
        description="Which key it was submitted with; null where none was needed."
    )
    origin: str | None = Field(
        description="Of an imported job: its id where it was exported. It can be forked, not extended."
    )
    status: kinds.JobStatus
    phase: str | None = Field(description="What is being done; free to grow new words.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    pause_requested: bool
    iteration: int | None = Field(description="The current iteration, counted from 0.")
    counts: CountsView
    activity: list[ActivityView] = Field(
        description="The steps under way; told of a single job, left empty in a list."
    )
    spent: SpentView
    estimate: EstimateView
    extensions: int = Field(
        description="How often it went on after a confirmation had begun; each has fresh seeds."
    )
    native_fitness: float | None = Field(description="The baseline's mean fitness in the search.")
    best: BestView | None
    outcome: OutcomeView | None
    failure: Problem | None = Field(description="Why the job failed, as the problem it is.")
    spec: SpecBody = Field(description="The request with every default; can be posted again.")
    webhook: WebhookView | None = Field(default=None, description="Who is told of its events.")
    links: LinksView


class Page(BaseModel, Generic[T]):
    """One page of a list; `next` is the `after` of the next page, null at the end."""

    data: list[T]
    has_more: bool
    next: str | None


class EventView(BaseModel):
    """Something that happened to a job; `id` counts from 1 within the job, without gaps."""

    id: int
    created_at: datetime
    type: str
    level: str
    message: str
    data: JsonObject


class EventPage(BaseModel):
    """Events in order; go on with `after` = `next`."""

    data: list[EventView]
    next: int


class TaskView(BaseModel):
    """A task of the catalogue."""

    name: str
    environment: str
    description: str
    fitness: FitnessBody
    measured: str = Field(description="The fitness in one sentence.")
    fields: list[FieldBody]
    env_kwargs: JsonObject
    max_episode_steps: int | None
    actions: str
    training: JsonObject
    array: kinds.ArrayLibrary


class TaskList(BaseModel):
    """The catalogue."""

    data: list[TaskView]


class NamedView(BaseModel):
    """A name that a request may use, and what it stands for."""

    name: str
    description: str


class MethodList(BaseModel):
    """What may be chosen in `method` and `designer`."""

    data: list[NamedView]
    designers: list[NamedView]


class HealthView(BaseModel):
    """That the server runs, or is ready."""

    status: str
    checks: dict[str, str] = {}
