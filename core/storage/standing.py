"""How all jobs together stand, whoever owns them: numbers alone, for a monitor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, column, select, table

from core.storage.clock import UtcTime, now
from core.storage.lifecycle import WORKED_ON

# A view of migrations 0005 and 0013.  It shows the web server's role in sums what row-level security
# hides.
_standing = table(
    "standing",
    column("status"),
    column("jobs"),
    column("oldest", UtcTime()),
    column("claimed"),
    column("alive", UtcTime()),
    column("resting"),
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
        resting: open jobs of which a step rests, while no other one is worked on or waits for workers.
    """

    jobs: Mapping[str, int]
    claimed: int
    oldest_queued_seconds: float | None
    sign_of_life_seconds: float | None
    resting: int = 0

    @property
    def open(self) -> int:
        """Return how many jobs wait for workers, are worked on, or rest."""
        return sum(self.jobs.get(status, 0) for status in WORKED_ON)

    @property
    def awake(self) -> int:
        """Return how many of the open jobs do not rest."""
        return self.open - self.resting


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
        sum(row.resting for row in rows if row.status in WORKED_ON),
    )


def _since(row: Row[Any], moment: datetime) -> float:
    return max(0.0, float((row.now - moment).total_seconds()))
