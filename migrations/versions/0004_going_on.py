"""Jobs that go on after their end, time that does not count, and examples of the library."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

LARGEST = "1.7976931348623157e308"


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("extensions", sa.BigInteger, nullable=False, server_default="0"))
        jobs.add_column(sa.Column("examples", sa.JSON(none_as_null=True), nullable=True))
        jobs.add_column(sa.Column("rested_at", sa.DateTime(timezone=True), nullable=True))
        jobs.add_column(sa.Column("idle_seconds", sa.Double, nullable=False, server_default="0"))
        jobs.create_check_constraint(
            op.f("ck_jobs_idle_seconds_finite"), f"idle_seconds BETWEEN -{LARGEST} AND {LARGEST}"
        )
    # Jobs that rest at this moment began to do so when they ended, or, as far as anybody knows, now.
    op.execute(
        "UPDATE jobs SET rested_at = COALESCE(finished_at, CURRENT_TIMESTAMP) "
        "WHERE status NOT IN ('queued', 'running')"
    )
