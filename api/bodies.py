"""What people may send about a job that is there: feedback, programs, and how it shall go on."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api import limits
from api.limits import Text
from api.schemas import BudgetBody, JsonObject, Label, Piece, Starts, Whole
from core.records import kinds

CandidateName = Annotated[
    Text,
    Field(
        max_length=200,
        description="Id of a candidate of the job, or its key such as `0.3`.",
        examples=["0.3"],
    ),
]
Source = Annotated[
    Text,
    Field(
        max_length=limits.MAX_PROGRAM_CHARACTERS,
        description="The module, by the rules of generated programs.",
        examples=["import numpy as np\n\n\ndef reward(obs, action, next_obs, params): …"],
    ),
]


OpenStatus = Literal["queued", "running", "awaiting_feedback", "paused"]
MOST_AT_ONCE = 100  # jobs that one request cancels


class Body(Piece):
    """A whole body: flat, finite and storable."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, body: object) -> object:
        return limits.check_body(body)


class FeedbackBody(Body):
    """What somebody thinks of a candidate, of two of them, or of the job as a whole."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"kind": "text", "text": "It jumps; I want it to walk.", "candidate": "0.3"},
                {"kind": "thumb", "candidate": "0.3", "value": -1},
                {"kind": "preference", "candidate": "0.3", "other": "0.1", "value": 1},
            ]
        },
    )

    kind: kinds.RemarkKind
    candidate: CandidateName | None = None
    other: CandidateName | None = Field(
        default=None, description="The candidate that it is compared with (preference)."
    )
    value: Whole | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="thumb: 1 or -1; preference: 1 if `candidate` is better, -1 if `other` is, 0 if "
        "neither.",
    )
    text: Text = Field(
        default="",
        max_length=limits.MAX_WORDS,
        description="Quoted in the next prompts, as information.",
    )

    @model_validator(mode="after")
    def _complete(self) -> FeedbackBody:
        if problem := _NEEDS[self.kind](self):
            raise ValueError(problem)
        return self


def _text(body: FeedbackBody) -> str | None:
    if not body.text.strip():
        return "expected `text` for the kind text, but found none"
    if body.other is not None or body.value is not None:
        return (
            "expected only `text` and perhaps `candidate`; `other` and `value` are for judgements"
        )
    return None


def _thumb(body: FeedbackBody) -> str | None:
    if body.candidate is None or body.value not in (1, -1):
        return "expected `candidate` and `value` 1 (up) or -1 (down) for the kind thumb"
    return "expected no `other` for the kind thumb" if body.other is not None else None


def _preference(body: FeedbackBody) -> str | None:
    if body.candidate is None or body.other is None or body.value is None:
        return "expected `candidate`, `other` and `value` 1, 0 or -1 for the kind preference"
    same = body.candidate == body.other
    return "expected two different candidates, but found one twice" if same else None


_NEEDS = {"text": _text, "thumb": _thumb, "preference": _preference}


class ProgramBody(Body):
    """A program of yours, to be measured as a candidate."""

    source: Source
    parent: CandidateName | None = Field(
        default=None, description="The candidate that it is an edit of, if it is one."
    )
    note: Text = Field(default="", max_length=2_000, description="What was done, in your words.")


class CancelBody(Body):
    """Which jobs shall end: those that are named, or those that have not ended and fit."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"ids": ["job_01jd7v8a3bqk2m5c6x9z0w4e1r"]},
                {"labels": {"sweep": "7"}, "status": "queued"},
            ]
        },
    )

    ids: list[Annotated[Text, Field(max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=MOST_AT_ONCE, description="Of jobs of yours."
    )
    status: OpenStatus | None = Field(default=None, description="Only jobs in this state.")
    task: Annotated[Text, Field(max_length=200)] | None = Field(
        default=None, description="Only jobs for the task of this name."
    )
    labels: dict[Label, Text] | None = Field(
        default=None, min_length=1, max_length=32, description="Only jobs with all of these labels."
    )

    @model_validator(mode="after")
    def _one_way(self) -> CancelBody:
        filters = (self.status, self.task, self.labels)
        if (self.ids is None) == all(part is None for part in filters):
            raise ValueError(
                "expected either `ids`, or some of `status`, `task` and `labels`; to cancel all of "
                "your jobs, name their states one after the other"
            )
        return self


class DescribeBody(Body):
    """What people call a job and write down about it; what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "gentle lander", "notes": "For the paper.", "labels": {"v": "2"}}]
        },
    )

    name: Annotated[Text, Field(max_length=200)] | None = Field(
        default=None, description="Empty for none."
    )
    notes: Annotated[Text, Field(max_length=limits.MAX_WORDS)] | None = Field(
        default=None, description="Markdown; empty for none."
    )
    labels: dict[Label, Annotated[Text, Field(max_length=200)]] | None = Field(
        default=None, max_length=20, description="In place of all that there were."
    )


class ExtendBody(Body):
    """What a job gets more of; at least one of the three."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"iterations": 2, "budget": {"env_steps": 20_000_000}}]},
    )

    iterations: Whole = Field(
        default=0, ge=0, le=limits.MAX_ITERATIONS, description="Further ones."
    )
    budget: BudgetBody = Field(
        default=BudgetBody(),
        description="New limits of the whole job; what is left out stays as it is.",
    )
    start: Starts = ()

    @model_validator(mode="after")
    def _something(self) -> ExtendBody:
        if not (self.iterations or self.start or self.budget != BudgetBody()):
            raise ValueError("expected iterations, a higher budget, or programs in `start`")
        return self


class ForkBody(Body):
    """A new job for the same task that starts from a candidate."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"candidate": "0.3", "overrides": {"iterations": 2, "method": "eureka"}}]
        },
    )

    candidate: CandidateName | None = Field(
        default=None, description="The best one of the job if left out."
    )
    overrides: JsonObject = Field(
        default_factory=dict,
        max_length=40,
        description="Entries of a job's request that differ from this job's; objects are merged.",
    )
    note: Text = Field(default="", max_length=2_000, description="Why, in your words.")


def body_sha256(body: BaseModel, place: str = "") -> str:
    """Return the sha256 of what was asked for, independent of spaces and the order of keys.

    Args:
        body:  of the request.
        place: where it was sent, if keys are not told apart by that already.
    """
    asked = [place, body.model_dump(mode="json", exclude_unset=True)]
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
