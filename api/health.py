"""Whether the server lives, and whether it can do its work."""

from __future__ import annotations

from fastapi import APIRouter

from api.dependencies import Building
from api.views import HealthView

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="read_health", summary="Is the server alive?")
async def read_health() -> HealthView:
    """Return at once, whatever the state of the database."""
    return HealthView(status="ok")


@router.get("/readyz", operation_id="read_readiness", summary="Can the server do its work?")
def read_readiness(here: Building) -> HealthView:
    """Return 200 if the database is reachable and up to date, and a 503 problem otherwise."""
    here.store.check_schema()
    return HealthView(status="ready", checks={"database": "reachable and migrated"})
