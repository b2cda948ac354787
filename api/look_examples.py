"""Worked examples of answers that are looked at: comparisons, curves, films, work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel

from api.comparison_views import ArtifactList, RolloutList, RunMetricsView
from api.examples import CANDIDATE, JOB, RUN, STARTED, STORED
from api.files import artifact_view
from api.show_comparison import comparison_view, diff_view, rollout_view, series_view
from api.work import usage_view, waiting_view, worker_view
from api.work_views import QueueView, WorkerList
from core.comparing import Contestant, compare
from core.records.kinds import NATIVE
from core.records.measured import Rollout, Run
from core.records.spec import JobSpec
from core.records.task import Task
from core.storage import (
    Day,
    KeyUse,
    Series,
    StoredArtifact,
    StoredCandidate,
    StoredJob,
    StoredRollout,
    StoredWorker,
)
from core.waiting import Crew, Worker

OTHER = CANDIDATE.removesuffix("1") + "0"
_OLD = 'def reward(obs, action, next_obs, params):\n    return {"near": 1.0 * near}\n'
_NEW = 'def reward(obs, action, next_obs, params):\n    return {"near": 2.0 * near}\n'
_SPEC = JobSpec(Task("cartpole-park", "CartPole-v1", "Park the cart one metre to the right."))


def _sides(stored: StoredCandidate) -> list[Contestant]:
    one = stored.candidate
    zero = replace(
        one, number=0, runs=tuple(replace(run, arm="0.0", fitness=0.64) for run in one.runs)
    )
    native = Run("baseline", NATIVE, 0, 0, "scored", fitness=0.11)
    return [
        Contestant(OTHER, JOB, _SPEC, 0.0, zero, zero.runs),
        Contestant(CANDIDATE, JOB, _SPEC, 0.0, one, one.runs),
        Contestant(f"{NATIVE}:{JOB}", JOB, _SPEC, 0.0, None, (native,)),
    ]


_ROLLOUT = Rollout(
    arm="0.1",
    episode=0,
    seed=1_203_441_937,
    training_seed=502,
    weights="5d" * 32,
    fitness=0.83,
    native=500.0,
    length=500,
    frames=251,
    fps=25.1,
    steps_per_frame=2,
    width=320,
    height=212,
    video="a1" * 32,
    preview="b2" * 32,
    trace="c3" * 32,
)
_FILMED = RolloutList(data=[rollout_view(StoredRollout(JOB, STARTED, _ROLLOUT))])
_DAY = Day("2026-01-05", 2, 30, 4_200_000, 240.0, 24, 61_000, 0.05)
_WORKER = StoredWorker("box-1", ("design", "train"), 1, 1, "cpu", STARTED, 2.5)
_CREW = Crew((Worker(("design", "train"), slots=1, busy=1),))


def examples(job: StoredJob) -> Mapping[str, BaseModel]:
    """Return the views by operation; `job` is one that runs."""
    series = Series("native_return", 150_000, (75_000, 150_000), (110.0, 390.5))
    return {
        "compare_candidates": comparison_view(
            compare(_sides(STORED)), {OTHER: _OLD, CANDIDATE: _NEW}
        ),
        "diff_candidate": diff_view(OTHER, _OLD, CANDIDATE, _NEW),
        "read_run_metrics": RunMetricsView(
            run=RUN,
            keys=["native_return", "component.near"],
            series={"native_return": series_view(series)},
        ),
        "list_rollouts": _FILMED,
        "list_job_rollouts": _FILMED,
        "list_artifacts": ArtifactList(
            data=[artifact_view(StoredArtifact(JOB, "5d" * 32, "weights", STARTED), {})]
        ),
        "read_usage": usage_view(
            [_DAY], [KeyUse("9f86d081884c7d65", "laptop", replace(_DAY, day=""))]
        ),
        "list_workers": WorkerList(data=[worker_view(0, _WORKER)]),
        "read_queue": QueueView(data=[waiting_view(job, 2, (), _CREW)], workers=1, slots=1, busy=1),
    }
