"""What the API answers when many jobs are cancelled at once."""

from __future__ import annotations

from pydantic import BaseModel, Field

from api.errors import Problem
from core.records.kinds import JobStatus


class CancelledView(BaseModel):
    """What became of the wish to cancel one job."""

    id: str
    status: JobStatus | None = Field(
        description="Of the job; `cancelled` once nobody works on it any more. Null if it was refused."
    )
    problem: Problem | None = Field(description="Why it was refused; null if it was not.")


class CancelledList(BaseModel):
    """What became of each job, in the order of the request, or oldest first."""

    data: list[CancelledView]
    has_more: bool = Field(
        description="Whether more jobs fit the filter: ask again. Never true where jobs were named."
    )
