"""The whole history of a job as lines of JSON, to keep, to read elsewhere, or to compute with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from api import downloads, openapi
from api.dependencies import Here, JobId
from core.storage import Store, StoredJob

router = APIRouter(tags=["jobs"])

FORMAT = 1
EVENTS_AT_ONCE = 1_000

_LINES = (
    '{"type": "job", "format": 1, "id": "job_01jd7v8a3bqk2m5c6x9z0w4e1r", "status": "succeeded"}\n'
)


@router.get(
    "/jobs/{job_id}/export",
    operation_id="export_job",
    summary="Export a job's whole history",
    response_class=openapi.JsonLinesResponse,
    responses=openapi.refusals(404)
    | openapi.json_lines("Every fact of the job, one a line; the last line counts them.", _LINES),
)
def export_job(job_id: JobId, here: Here) -> StreamingResponse:
    """Stream every fact that is stored of a job, each with its `type`.

    First comes the `job`; then `exchange`, `iteration`, `candidate`, `run` (with its curve), `report`,
    `feedback`, `given`, `remark`, `rollout` and `event`; an `end` with the number of lines before it
    shows that nothing is missing. Files are named by their hashes and are not part of it.
    """
    job = here.store.job(job_id)  # whoever may not see it hears so before anything is sent
    return StreamingResponse(
        _lines(here.store, job),
        media_type=openapi.JsonLinesResponse.media_type,
        headers={"Content-Disposition": f"attachment; filename={job_id}.jsonl"},
    )


def _lines(store: Store, job: StoredJob) -> Iterator[str]:
    count = 0
    for kind, said in _facts(store, job):
        count += 1
        yield _line({"type": kind, **said})
    yield _line({"type": "end", "lines": count})


def _line(said: dict[str, Any]) -> str:
    return json.dumps(said, ensure_ascii=False, allow_nan=False, default=_moment) + "\n"


def _moment(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is no JSON")
    return value.isoformat()


def _facts(store: Store, job: StoredJob) -> Iterator[tuple[str, dict[str, Any]]]:
    # An export is handed on: who is told of the job, and what proves it to them, is nobody else's.
    own = {name: value for name, value in asdict(job).items() if name != "webhook"}
    yield "job", {"format": FORMAT, "rewardsmith": downloads.version(), **own}
    for exchange in store.exchanges(job.id):
        yield "exchange", asdict(exchange)
    for iteration in store.iterations(job.id):
        yield "iteration", {"number": iteration.number, "proposed": iteration.proposed}
        for candidate in iteration.candidates:
            own = asdict(candidate)
            yield "candidate", {n: v for n, v in own.items() if n not in ("runs", "report")}
        if iteration.feedback is not None:
            yield "feedback", asdict(iteration.feedback)
    for stored in store.all_runs(job.id):
        yield "run", asdict(store.run(stored.id).run)
    for report in store.all_reports(job.id):
        yield "report", asdict(report)
    yield from (("given", asdict(given)) for given in store.given(job.id))
    yield from (("remark", asdict(remark)) for remark in store.remarks(job.id))
    yield from (("rollout", asdict(one.rollout)) for one in store.rollouts(job.id))
    yield from _events(store, job.id)


def _events(store: Store, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    after = 0
    while found := store.events(job_id, after=after, limit=EVENTS_AT_ONCE):
        yield from (("event", asdict(event)) for event in found)
        after = found[-1].seq
