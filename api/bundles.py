"""What a user takes home besides the reward: a folder that plays, as one zip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from fastapi import APIRouter, Response

from api import downloads, openapi
from api.dependencies import Here, JobId
from core import choosing
from core.errors import NotFound
from core.export import Parts, write_bundle
from core.records.history import History
from core.records.kinds import NATIVE
from core.records.measured import Run
from core.storage import FolderArtifacts, Store
from core.storage.ids import RunKey, run_id

router = APIRouter(tags=["jobs"])


@router.get(
    "/jobs/{job_id}/best/bundle.zip",
    operation_id="download_bundle",
    summary="Download the best design as a folder that plays",
    response_class=openapi.ZipResponse,
    responses=openapi.refusals(404) | openapi.ZIP,
)
def download_bundle(job_id: JobId, here: Here) -> Response:
    """Return reward, policy, player, numbers, curves, film and model card; it needs nothing of ours.

    Before the job has ended there is no policy in it, and its card says what else is missing. The same
    facts give the same bytes.
    """
    content = write_bundle(
        _parts(here.store, FolderArtifacts(here.settings.artifacts_path), job_id)
    )
    return openapi.ZipResponse(
        content,
        headers={
            "Content-Disposition": f"attachment; filename={job_id}.zip",
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
        },
    )


def _parts(store: Store, artifacts: FolderArtifacts, job_id: str) -> Parts:
    job, stored = downloads.best(store, job_id)
    history, key = store.history(job_id), stored.candidate.key
    fields = job.preflight.fields if job.preflight else job.spec.task.fields
    # The policy that goes along is a confirmation run's, which can repeat only that run's films.
    filmed = [one.rollout for one in store.rollouts(job_id, key) if one.rollout.stage == "confirm"]
    return Parts(
        job_id=job_id,
        candidate=stored.candidate,
        history=history,
        task=replace(job.spec.task, fields=fields),
        reward=downloads.render(store, job, stored),
        policy=_policy(history, artifacts, key),
        runs=tuple(_with_curves(store, job_id, history, key)),
        exchanges=store.exchanges(job_id),
        rollouts=filmed,
        video=_bytes(artifacts, next((one.video for one in filmed if one.video), None)),
        versions={"rewardsmith": downloads.version()},
        origin=job.origin,
    )


def _policy(history: History, artifacts: FolderArtifacts, key: str) -> tuple[Run, bytes] | None:
    run = choosing.best_run(history, key)
    weights = None if run is None else _bytes(artifacts, run.weights)
    return None if run is None or weights is None else (run, weights)


def _bytes(artifacts: FolderArtifacts, sha256: str | None) -> bytes | None:
    try:
        return None if sha256 is None else artifacts.get(sha256)
    except NotFound:
        return None  # the server does not see the workers' folder, or the file is gone


def _with_curves(store: Store, job_id: str, history: History, key: str) -> Iterator[Run]:
    searched = [run for i in history.iterations for c in i.candidates for run in c.runs]
    known = [*history.native, *searched, *history.confirmations]
    for run in known:
        if run.arm in (NATIVE, key):
            place = RunKey(job_id, run.stage, run.arm, run.seed, run.rung)
            yield store.run(run_id(place)).run
