"""What the API answers where things are laid beside each other: comparisons, differences, series."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from api.history_views import TermView
from api.views import IntervalView
from core.comparing import Ground
from core.differences import Change
from core.records import kinds


class LineView(BaseModel):
    """One line of a program; `old` and `new` are its numbers there, null where it is not."""

    change: Change
    text: str
    old: int | None
    new: int | None


class HunkView(BaseModel):
    """Neighbouring changes with some lines around them."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    lines: list[LineView]


class DiffView(BaseModel):
    """What changes from one program to another."""

    old: str = Field(description="Id of a candidate, or `native`, which has no program.")
    new: str = Field(description="Id of a candidate.")
    hunks: list[HunkView] = Field(description="None if the programs are the same.")


class SideView(BaseModel):
    """One side of a comparison: a candidate, or the native reward of its job."""

    name: str = Field(description="A candidate's id, or `native:` and the job's id.")
    candidate: str | None
    job_id: str
    arm: str
    task: str
    fitness: IntervalView | None = Field(description="Null if it was not measured here.")
    seeds: list[int]
    values: list[float] = Field(
        description="Fitness by seed; a failed run of a candidate counts as the random policy's."
    )
    failed: int = Field(description="How many of these runs failed.")
    runs: list[str] = Field(description="Ids of the runs that are compared.")


class PairView(BaseModel):
    """Two sides that both have numbers."""

    first: str
    second: str
    probability: float = Field(
        description="That a run of `first` is better than a run of `second`; ties count half."
    )
    difference: IntervalView = Field(description="Mean of `first` minus mean of `second`.")


class TermRowView(BaseModel):
    """One component or feature, by side."""

    kind: kinds.TermKind
    name: str
    differs: bool = Field(description="Whether some candidate does not have it.")
    cells: dict[str, TermView]


class SettingRowView(BaseModel):
    """One number or choice, by side; a side to which it means nothing has no cell."""

    name: str
    differs: bool
    cells: dict[str, str | int | float | bool | None]


class ComparisonView(BaseModel):
    """Candidates beside each other, and beside the native rewards of their jobs."""

    ground: Ground = Field(
        description="`confirm`: fresh seeds; `search`: the highest rung that all candidates reached."
    )
    rung: int
    notes: list[str] = Field(description="What to know before trusting the numbers.")
    sides: list[SideView]
    pairs: list[PairView]
    terms: list[TermRowView]
    settings: list[SettingRowView]
    diffs: list[DiffView] = Field(description="From the first candidate to each other one.")


class SeriesView(BaseModel):
    """One series of a curve, thinned so that every stretch keeps its lowest and highest point."""

    points: int = Field(description="How many were stored.")
    steps: list[int] = Field(description="Environment steps of the run.")
    values: list[float]


class RunMetricsView(BaseModel):
    """Series of a training; each has steps of its own, for each is thinned by its own extremes."""

    run: str
    keys: list[str] = Field(description="Names of all series that there are.")
    series: dict[str, SeriesView]


class RolloutView(BaseModel):
    """A filmed episode of the best run of an arm in a stage."""

    candidate: str | None = Field(description="Null for the native reward.")
    arm: str
    stage: kinds.Stage = Field(
        description="Of the run: `confirm`, or `search` and `baseline` for people who are to judge."
    )
    episode: int
    seed: int = Field(description="Of the environment; it serves for nothing else.")
    training_seed: int
    fitness: float | None
    native_return: float | None
    length: int
    terminated: bool
    frames: int
    fps: float
    steps_per_frame: int = Field(description="Environment steps from one frame to the next.")
    width: int
    height: int
    video: str | None = Field(description="Where the MP4 is.")
    preview: str | None = Field(description="Where the animated WebP is.")
    trace: str | None = Field(description="Where fields and components by step are, in JSON.")
    recording: str | None = Field(
        description="Where every step is, in safetensors: `observations` [N+1, D], `actions`, "
        "`rewards`, `terminations` and `truncations` [N], `component.NAME` and `feature.NAME` [N]."
    )
    failure: str | None = Field(description="Why there is no video.")
    created_at: datetime


class RolloutList(BaseModel):
    """Filmed episodes by arm and episode: the last confirmation's, then what people judged."""

    data: list[RolloutView]


class ArtifactView(BaseModel):
    """A file that belongs to a job."""

    sha256: str
    kind: Literal["weights", "transitions", "probe", "rollout"]
    name: str
    media_type: str
    url: str
    created_at: datetime


class ArtifactList(BaseModel):
    """Files of a job, by kind and hash."""

    data: list[ArtifactView]
