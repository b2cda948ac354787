"""The catalogue of tasks, and one task in full."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from api.pages.door import Reader
from api.pages.pictures import picture_of
from api.pages.render import page, who
from api.pages.trouble import page_router
from api.tasks import list_tasks, read_task

router = page_router()


@router.get("/tasks")
def read_catalogue(request: Request, here: Reader) -> Response:
    """Return the catalogue."""
    tasks = [(task, picture_of(task.environment)) for task in list_tasks().data]
    return page(request, "tasks.html", tasks=tasks, **who(here))


@router.get("/tasks/{name}")
def read_one(
    request: Request, name: Annotated[str, Path(max_length=200)], here: Reader
) -> Response:
    """Return a task."""
    task = read_task(name)
    picture = picture_of(task.environment)
    return page(request, "task.html", task=task, picture=picture, **who(here))
