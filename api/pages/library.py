"""Finished designs, found by words."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from api.library import library_item_view
from api.limits import Text
from api.pages.door import Reader
from api.pages.render import page, who
from api.pages.trouble import page_router

router = page_router()

MOST = 30


@router.get("/library")
def read_library(
    request: Request,
    here: Reader,
    q: Annotated[Text, Query(max_length=2_000)] = "",
    task: Annotated[Text, Query(max_length=200)] = "",
) -> Response:
    """Return the page; what is searched for stands in its address."""
    found = here.store.library.search(q.strip() or None, task=task or None, limit=MOST)
    items = [library_item_view(item) for item in found]
    return page(request, "library.html", items=items, q=q, task=task, **who(here))
