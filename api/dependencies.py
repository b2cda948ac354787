"""What routes are handed: the store, and a way to wake the workers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends, Path, Request

from core.designers import OPENAI_MODEL
from core.prices import Prices
from core.settings import Settings
from core.storage import Store

log = logging.getLogger(__name__)

SAMPLE = "01jd7v8a3bqk2m5c6x9z0w4e1r"

Notify: TypeAlias = Callable[[str], object]


@dataclass(slots=True)
class House:
    """What one running server holds.

    Attributes:
        prices:   of models, for estimates and budgets of money.
        migrated: the schema was found up to date once, and need not be looked at again.
        stopping: the server is about to end; open streams should end before it.
    """

    settings: Settings
    store: Store
    notify: Notify
    prices: Prices
    migrated: bool = False
    stopping: bool = False

    @property
    def model(self) -> str:
        """Return the model that is asked where a job names none."""
        return self.settings.openai_model or OPENAI_MODEL

    def wake(self, job_id: str) -> None:
        """Tell the workers that the job has moved; if that fails, their sweep finds the job."""
        try:
            self.notify(job_id)
        # The broker's client may raise anything; the request is already committed and must stand.
        except Exception as error:  # noqa: BLE001
            log.warning("could not wake a worker for %s: %s", job_id, error)


async def house(request: Request) -> House:
    """Return what the server holds.  Async, because a thread for this would cost more than it does."""
    held: House = request.app.state.house
    return held


def migrated(here: Annotated[House, Depends(house)]) -> None:
    """Refuse every request until the database is reachable and up to date.

    Raises:
        StorageFailed: it is not.
    """
    if not here.migrated:
        here.store.check_schema()
        here.migrated = True


Here = Annotated[House, Depends(house)]
JobId = Annotated[str, Path(max_length=200, examples=[f"job_{SAMPLE}"])]
CandidateId = Annotated[str, Path(max_length=200, examples=[f"cand_{SAMPLE}_0_3"])]
RunId = Annotated[str, Path(max_length=200, examples=[f"run_{SAMPLE}_search_0-3_0_0"])]
