"""All pages under one router; they are no part of the documented API."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from api.dependencies import migrated
from api.pages import (
    actions,
    candidate,
    compare,
    cost,
    feed,
    iteration,
    job,
    jobs,
    library,
    new_job,
    signin,
    static_files,
    tasks,
    workers,
)

PAGES = (
    jobs,
    new_job,
    job,
    iteration,
    feed,
    actions,
    candidate,
    compare,
    cost,
    workers,
    library,
    tasks,
)

router = APIRouter(include_in_schema=False)
router.include_router(static_files.router)
router.include_router(signin.router)
for part in PAGES:
    router.include_router(part.router, dependencies=[Depends(migrated)])
