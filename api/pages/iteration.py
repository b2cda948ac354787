"""What was told to the designer after one iteration, word for word."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from api.dependencies import JobId
from api.pages.door import Reader
from api.pages.render import page, who
from api.pages.trouble import page_router
from core.errors import NotFound

router = page_router()


@router.get("/jobs/{job_id}/iterations/{number}")
def read_iteration(
    request: Request, job_id: JobId, number: Annotated[int, Path(ge=0, le=1_000)], here: Reader
) -> Response:
    """Return the page."""
    told = next((one for one in here.store.glances.told(job_id) if one.iteration == number), None)
    if told is None:
        raise NotFound(f"Nothing was told of iteration {number} of job {job_id}.")
    return page(request, "iteration.html", job_id=job_id, told=told, **who(here))
