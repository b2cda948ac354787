"""Who is told of a job's events, and the messages to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("webhook", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "deliveries",
        sa.Column("job_id", sa.String, nullable=False),
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("log", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_deliveries_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["job_id", "seq"],
            ["events.job_id", "events.seq"],
            name=op.f("fk_deliveries_job_id_seq"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_deliveries")),
        sa.CheckConstraint(
            "status IN ('waiting', 'delivered', 'failed')", name=op.f("ck_deliveries_status")
        ),
    )
    op.create_index("ix_deliveries_status_not_before", "deliveries", ["status", "not_before"])
    if op.get_bind().dialect.name == "postgresql":
        _hide_deliveries()


def _hide_deliveries() -> None:
    """Show a role that does not own the table only the rows of jobs that it sees."""
    seen = "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = deliveries.job_id)"
    op.execute("ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY owners ON deliveries USING ({seen}) WITH CHECK ({seen})")
