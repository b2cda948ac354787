"""What the store hands out beyond the records: a record with its id, its times and its standing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from core.ports import Progress
from core.records.history import Spent
from core.records.kinds import JobStatus, Json
from core.records.measured import Preflight, Rollout, Run
from core.records.outcome import Outcome
from core.records.rounds import Candidate
from core.records.spec import JobSpec, Webhook

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list.  The next part starts after the id of the last item."""

    items: tuple[T, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: a short name, a sentence for people, and details."""

    reason: str
    message: str
    data: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as it stands.

    Attributes:
        phase:          the kind of the step that was begun last ("preflight", "train", …).
        best_candidate: key of the best candidate so far ("0.3").
        best_fitness:   its fitness in the search.
        native_fitness: the baseline's fitness in the search.
        counts:         candidates by status.
        iteration:      number of the newest iteration, -1 before the first.
        event_count:    number of the last event; grows with every change that people can see.
        extensions:     how often it went on after a confirmation had begun.
        notes:          what people wrote down about it.
        origin:         of an imported job: its id where it was exported.
        webhook:        who is told of its events.
        key_id:         of the key that it was submitted with; None where none was needed.
    """

    id: str
    name: str | None
    labels: Mapping[str, str]
    spec: JobSpec
    status: JobStatus
    phase: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    pause_requested: bool
    preflight: Preflight | None
    failure: Failure | None
    outcome: Outcome | None
    best_candidate: str | None
    best_fitness: float | None
    native_fitness: float | None
    counts: Mapping[str, int]
    spent: Spent
    iteration: int
    event_count: int
    extensions: int = 0
    notes: str | None = None
    origin: str | None = None
    key_id: str | None = None
    webhook: Webhook | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """What of a job that has not ended stands in the queue."""

    id: str
    name: str | None
    status: JobStatus
    phase: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredCandidate:
    """A candidate with its runs (without their curves) and the report of its highest rung.

    `fitness` is that of the search at the highest rung that it reached.
    """

    id: str
    job_id: str
    created_at: datetime
    fitness: float | None
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run; its curve is there only when the run was asked for alone."""

    id: str
    job_id: str
    created_at: datetime
    run: Run


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a run's curve, thinned: `points` were stored, `steps` and `values` are shown."""

    name: str
    points: int
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """A filmed episode of a job."""

    job_id: str
    created_at: datetime
    rollout: Rollout


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """That bytes belong to a job; `kind` is weights, transitions, probe or rollout."""

    job_id: str
    sha256: str
    kind: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job; `seq` counts from 1 without gaps."""

    job_id: str
    seq: int
    kind: str
    level: str
    message: str
    data: Json
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Activity:
    """A step that somebody works on; `age_seconds` is the time since the last sign of life."""

    step_key: str
    owner: str
    progress: Progress | None
    claimed_at: datetime
    age_seconds: float
