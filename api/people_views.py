"""What the API answers of what people said and handed in, and of the library."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from api.schemas import TaskBody
from core.records import kinds


class RemarkView(BaseModel):
    """What somebody said."""

    number: int = Field(description="Counts from 0 in the job.")
    kind: kinds.RemarkKind
    candidate: str | None = Field(description="Id of the candidate that is meant.")
    other: str | None
    value: int
    text: str
    iteration: int = Field(
        description="The newest iteration when it was said; -1 before the first."
    )


class RemarkList(BaseModel):
    """Everything that was said, in order."""

    data: list[RemarkView]


class GivenView(BaseModel):
    """A program that people handed in."""

    number: int = Field(description="Counts from 0 in the job.")
    origin: kinds.Origin
    parent: str | None = Field(description="Id of the candidate that it is an edit of.")
    note: str
    source: str
    candidate: str | None = Field(
        description="Id of the candidate that it became; null while it waits for the next iteration."
    )


class GivenList(BaseModel):
    """The programs that people handed in, in order."""

    data: list[GivenView]


class LibraryItemView(BaseModel):
    """A finished design."""

    job: str
    candidate: str
    task: TaskBody
    fields: list[str]
    verdict: kinds.Verdict
    evidence: str = Field(description="How it compares with the native reward on fresh seeds.")
    source: str = Field(description="The module, with the numbers in force. It is untrusted code.")
    finished_at: datetime
    score: float | None = Field(description="How well it fits `q`; higher is better.")


class LibraryList(BaseModel):
    """Finished designs, those that fit best first."""

    data: list[LibraryItemView]
