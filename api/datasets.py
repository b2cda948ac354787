"""What all jobs teach a designer, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api import openapi
from api.dependencies import Here
from api.limits import Text
from core.datasets import Format, Row, rows_of
from core.errors import NotFound
from core.storage import Store

router = APIRouter(tags=["datasets"])

JOBS_AT_ONCE = 100


@router.get(
    "/datasets/designer.jsonl",
    operation_id="export_designer_dataset",
    summary="Export prompts, answers and what they led to",
    response_class=openapi.JsonLinesResponse,
    responses=openapi.refusals(422) | openapi.JSON_LINES,
)
def export_designer_dataset(
    here: Here,
    format: Annotated[
        Format, Query(description="For supervised tuning, pairs, or groups with rewards.")
    ] = "sft",
    task: Annotated[
        Text | None, Query(max_length=200, description="Only jobs for the task of this name.")
    ] = None,
) -> StreamingResponse:
    """Stream one JSON object per line, in the conversational form of trl, of every job so far.

    `split` puts all designs of a task on the same side, by a hash of its name. `dpo` holds only pairs
    whose intervals do not touch, or of which one is invalid; no row compares answers to different
    questions.
    """
    lines = _lines(here.store, format, task)
    return StreamingResponse(lines, media_type=openapi.JsonLinesResponse.media_type)


def _lines(store: Store, form: Format, task: str | None) -> Iterator[str]:
    after: str | None = None
    while True:
        page = store.jobs(after=after, limit=JOBS_AT_ONCE, task=task)
        for job in page.items:
            for row in _rows(store, form, job.id):
                yield json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
        if not page.has_more:
            return
        after = page.items[-1].id


def _rows(store: Store, form: Format, job_id: str) -> Sequence[Row]:
    try:
        return tuple(rows_of(job_id, store.history(job_id), store.exchanges(job_id, None), form))
    except NotFound:
        return ()  # deleted since the list was read
