"""Rows → records: what only a reader of the whole history asks for."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from core.records.measured import Report
from core.storage.codec import load
from core.storage.job_reads import read_rows
from core.storage.reads import runs_where
from core.storage.stored import StoredRun
from core.storage.tables import evaluations


@dataclass(frozen=True, slots=True)
class StoredReport:
    """What is known of an arm's behaviour at a rung of a stage."""

    stage: str
    arm: str
    rung: int
    report: Report


def runs_of_all(connection: Connection, job_id: str) -> tuple[StoredRun, ...]:
    """Return every run of a job, of earlier confirmations as well, without curves."""
    return tuple(runs_where(connection, job_id))


def reports_of_all(connection: Connection, job_id: str) -> tuple[StoredReport, ...]:
    """Return every report of a job."""
    query = select(evaluations).where(evaluations.c.job_id == job_id)
    query = query.order_by(evaluations.c.stage, evaluations.c.arm, evaluations.c.rung)
    return tuple(
        StoredReport(row["stage"], row["arm"], row["rung"], load(Report, row["report"]))
        for row in read_rows(connection, query)
    )
