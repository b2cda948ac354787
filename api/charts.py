"""Curves of a training, short enough to be drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api import openapi
from api.comparison_views import RunMetricsView
from api.dependencies import Here, RunId
from api.limits import Text
from api.show_comparison import series_view
from core.downsampling import FEWEST_POINTS
from core.spreadsheets import write_table
from core.storage import Series

router = APIRouter(tags=["candidates"])

CSV = "text/csv"
MOST_POINTS = 10_000


@router.get(
    "/runs/{run_id}/metrics",
    operation_id="read_run_metrics",
    summary="Read a training's curves",
    response_model=RunMetricsView,
    responses=openapi.refusals(404, 422)
    | openapi.or_as(
        CSV,
        "The curves, or, where asked for by `Accept`, a table of them.",
        "series,step,value\r\nnative_return,75000,110.0\r\n",
    ),
)
def read_run_metrics(
    run_id: RunId,
    here: Here,
    request: Request,
    keys: Annotated[
        Text | None,
        Query(
            max_length=2_000,
            description="Names of series, with commas between; all if left out.",
            examples=["native_return,component.near"],
        ),
    ] = None,
    max_points: Annotated[
        int, Query(ge=FEWEST_POINTS, le=MOST_POINTS, description="Of each series.")
    ] = 500,
) -> Response | RunMetricsView:
    """Return series of a curve, thinned: the first and the last point and every extreme stay.

    A series of more points is cut into stretches, of each of which the lowest and the highest point are
    kept. Names that there are not are left out; `keys` of the answer has those that there are.
    """
    names = None if keys is None else {part.strip() for part in keys.split(",")}
    every, found = here.store.series(run_id, names, max_points)
    if CSV in request.headers.get("accept", ""):
        return Response(table(found), media_type=CSV)
    shown = {series.name: series_view(series) for series in found}
    return RunMetricsView(run=run_id, keys=list(every), series=shown)


def table(found: Sequence[Series]) -> str:
    """Return a row for each point of each series."""
    text = io.StringIO()
    rows = (
        (series.name, step, value)
        for series in found
        for step, value in zip(series.steps, series.values, strict=True)
    )
    write_table(text, ("series", "step", "value"), rows, end="\r\n")
    return text.getvalue()
