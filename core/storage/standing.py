"""How all jobs together stand, whoever owns them: numbers alone, for a monitor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, column, select, table

from core.storage.clock import UtcTime, now
from core.storage.lifecycle import WORKED_ON

# A view of migration 0005.  It shows the web server's role what row-level security hides, in sums.
_standing = table(
    "standing",
    column("status"),
    column("jobs"),
    column("oldest", UtcTime()),
    column("claimed"),
    column("alive", UtcTime()),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How all jobs stand.

    Attributes:
        jobs:    numbers by status.
        claimed: steps in the hands of living workers.
        oldest_queued_seconds: how long the oldest queued job has waited; None without any.
        sign_of_life_seconds:  since a worker last claimed a step or said how far it is; None if
                               none ever has.
    """

    jobs: Mapping[str, int]
    claimed: int
    oldest_queued_seconds: float | None
    sign_of_life_seconds: float | None

    @property
    def open(self) -> int:
        """Return how many jobs wait for workers or are worked on."""
        return sum(self.jobs.get(status, 0) for status in WORKED_ON)


def read_standing(connection: Connection) -> Standing:
    """Return how all jobs stand at this moment."""
    rows = connection.execute(select(_standing, now().label("now"))).all()
    queued = next((row for row in rows if row.status == "queued"), None)
    alive = max((row.alive for row in rows if row.alive is not None), default=None)
    return Standing(
        {row.status: row.jobs for row in rows},
        sum(row.claimed for row in rows),
        None if queued is None else _since(queued, queued.oldest),
        None if alive is None else _since(rows[0], alive),
    )


def _since(row: Row[Any], moment: datetime) -> float:
    return max(0.0, float((row.now - moment).total_seconds()))
