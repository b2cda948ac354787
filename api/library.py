"""Finished designs, found by words and by the names of fields."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from api import openapi
from api.dependencies import Here
from api.jobs import Limit
from api.limits import Text
from api.people_views import LibraryItemView, LibraryList
from api.schemas import TaskBody
from api.show import key_to_id
from core.storage import LibraryItem

router = APIRouter(tags=["library"])


@router.get(
    "/library",
    operation_id="search_library",
    summary="Find finished designs",
    responses=openapi.refusals(422),
)
def search_library(
    here: Here,
    q: Annotated[
        Text | None,
        Query(max_length=2_000, description="Words of the task, or names of fields."),
    ] = None,
    task: Annotated[
        Text | None, Query(max_length=200, description="Only designs for the task of this name.")
    ] = None,
    limit: Limit = 20,
) -> LibraryList:
    """Return what jobs ended with, best fit first; without `q`, the newest first.

    Post a job with `start: [{"library": "<job>"}]` to begin with a design, or with `context.examples`
    to show such designs to the model.
    """
    found = here.store.library.search(q, task=task, limit=limit)
    return LibraryList(data=[library_item_view(item) for item in found])


def library_item_view(item: LibraryItem) -> LibraryItemView:
    """Show a finished design."""
    return LibraryItemView(
        job=item.job,
        candidate=key_to_id(item.job, item.candidate),
        task=TaskBody.model_validate(asdict(item.task)),
        fields=list(item.fields),
        verdict=item.verdict,
        evidence=item.evidence,
        source=item.source,
        finished_at=item.finished_at,
        score=item.score,
    )
