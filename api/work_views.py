"""What the API answers about work: what was used, who works, who waits."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from core.records.kinds import JobStatus


class UseView(BaseModel):
    """What some jobs used together."""

    jobs: int = Field(description="Submitted.")
    runs: int = Field(description="Trainings that ended.")
    env_steps: int
    seconds: float = Field(description="Of training, all runs together.")
    exchanges: int = Field(description="Questions that a designer answered.")
    tokens: int
    money: float = Field(description="US dollars, as far as prices are known.")


class DayView(UseView):
    """What your jobs used on one day in UTC."""

    day: str


class KeyUseView(UseView):
    """What the jobs used that were submitted with one of your keys."""

    key_id: str | None = Field(
        description="The part of the key before the dot, without `rws_`; null where none was needed."
    )
    name: str = Field(description="Of the key; empty without one.")


class UsageView(BaseModel):
    """What your jobs used, the newest day first; deleted jobs are not counted any more."""

    data: list[DayView]
    keys: list[KeyUseView] = Field(
        description="The same by the key that a job was submitted with, most money first."
    )
    total: DayView = Field(description="Of all these days; `day` is the first of them.")


class WorkerView(BaseModel):
    """A worker process. Its machine's name stays inside."""

    name: str
    queues: list[str]
    slots: int
    busy: int
    device: str
    alive: bool
    started_at: datetime
    silent_seconds: float = Field(description="Since it last said that it is there.")


class WorkerList(BaseModel):
    """Workers, the oldest first; they serve all owners."""

    data: list[WorkerView]


class WaitingView(BaseModel):
    """A job of yours that has not ended."""

    job_id: str
    name: str | None
    status: JobStatus
    phase: str | None
    ahead: int = Field(description="Older jobs, of all owners, that wait or are worked on.")
    in_hand: int = Field(description="Steps that a worker carries out right now.")
    reason: str | None = Field(description="What it waits for; null while it is worked on.")


class QueueView(BaseModel):
    """Your jobs that have not ended, the oldest first."""

    data: list[WaitingView]
    workers: int
    slots: int
    busy: int
