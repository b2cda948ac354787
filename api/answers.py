"""Answers that are written out where they are made.

FastAPI checks what a route returns against its model once more, in another thread.  For a view that
was just built that finds nothing, and under load it is a tenth of a request.  What a route documents is
its `response_model`; the tests against the OpenAPI document hold it to that.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Response
from pydantic import BaseModel


def answer(
    view: BaseModel, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a view as JSON."""
    content = view.model_dump_json()
    return Response(content, status_code, headers, media_type="application/json")
