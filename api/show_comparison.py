"""From stored records to views: comparisons, differences, filmed episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from api.comparison_views import (
    ComparisonView,
    DiffView,
    HunkView,
    PairView,
    RolloutView,
    SeriesView,
    SettingRowView,
    SideView,
    TermRowView,
)
from api.history_views import TermView
from api.show import key_to_id, shown_interval
from api.views import IntervalView
from core.comparing import Comparison, Side
from core.differences import hunks
from core.records.kinds import NATIVE
from core.storage import Series, StoredRollout
from core.storage.ids import RunKey, run_id


def comparison_view(found: Comparison, sources: Mapping[str, str]) -> ComparisonView:
    """Show a comparison; `sources` are the programs by name of the side."""
    first, *others = [side.name for side in found.sides if side.name in sources] or [""]
    return ComparisonView(
        ground=found.ground,
        rung=found.rung,
        notes=list(found.notes),
        sides=[_side(side) for side in found.sides],
        pairs=[
            PairView(
                first=pair.first,
                second=pair.second,
                probability=pair.probability,
                difference=IntervalView(**asdict(pair.difference)),
            )
            for pair in found.pairs
        ],
        terms=[
            TermRowView(
                kind=row.kind,
                name=row.name,
                differs=row.differs,
                cells={side: TermView(**asdict(term)) for side, term in row.cells.items()},
            )
            for row in found.terms
        ],
        settings=[
            SettingRowView(name=row.name, differs=row.differs, cells=dict(row.cells))
            for row in found.settings
        ],
        diffs=[diff_view(first, sources[first], other, sources[other]) for other in others],
    )


def _side(side: Side) -> SideView:
    return SideView(
        name=side.name,
        candidate=None if side.arm == NATIVE else side.name,
        job_id=side.job,
        arm=side.arm,
        task=side.task,
        fitness=shown_interval(side.fitness),
        seeds=list(side.seeds),
        values=list(side.values),
        failed=side.failed,
        runs=[run_id(RunKey(side.job, r.stage, r.arm, r.seed, r.rung)) for r in side.runs],
    )


def diff_view(old_name: str, old: str, new_name: str, new: str) -> DiffView:
    """Show what changes from one program to another."""
    found = [HunkView.model_validate(asdict(hunk)) for hunk in hunks(old, new)]
    return DiffView(old=old_name, new=new_name, hunks=found)


def series_view(series: Series) -> SeriesView:
    """Show a thinned series."""
    return SeriesView(points=series.points, steps=list(series.steps), values=list(series.values))


def rollout_view(stored: StoredRollout) -> RolloutView:
    """Show a filmed episode."""
    one, job_id = stored.rollout, stored.job_id
    return RolloutView(
        candidate=None if one.arm == NATIVE else key_to_id(job_id, one.arm),
        arm=one.arm,
        stage=one.stage,
        episode=one.episode,
        seed=one.seed,
        training_seed=one.training_seed,
        fitness=one.fitness,
        native_return=one.native,
        length=one.length,
        terminated=one.terminated,
        frames=one.frames,
        fps=one.fps,
        steps_per_frame=one.steps_per_frame,
        width=one.width,
        height=one.height,
        video=artifact_path(job_id, one.video),
        preview=artifact_path(job_id, one.preview),
        trace=artifact_path(job_id, one.trace),
        recording=artifact_path(job_id, one.recording),
        failure=one.failure,
        created_at=stored.created_at,
    )


def artifact_path(job_id: str, sha256: str | None) -> str | None:
    """Return where an artifact's bytes are."""
    return None if sha256 is None else f"/v1/jobs/{job_id}/artifacts/{sha256}"
