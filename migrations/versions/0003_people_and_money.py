"""What people hand in and say, what the designer costs, and the stages after the confirmation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

STATUSES = "'queued', 'running', 'awaiting_feedback', 'paused', 'succeeded', 'failed', 'cancelled'"
STAGES = "'baseline', 'search', 'confirm', 'ablation', 'transfer'"
LARGEST = "1.7976931348623157e308"


def upgrade() -> None:
    money = sa.Column("money", sa.Double, nullable=False, server_default="0")
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(money)
        jobs.drop_constraint(op.f("ck_jobs_status"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_status"), f"status IN ({STATUSES})")
        jobs.create_check_constraint(
            op.f("ck_jobs_money_finite"), f"money BETWEEN -{LARGEST} AND {LARGEST}"
        )
    for name in ("runs", "saved"):
        with op.batch_alter_table(name) as table:
            table.drop_constraint(op.f(f"ck_{name}_stage"), type_="check")
            table.create_check_constraint(op.f(f"ck_{name}_stage"), f"stage IN ({STAGES})")
    _of_people("given", sa.Column("source", sa.Text, nullable=False))
    _of_people(
        "remarks",
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('text', 'thumb', 'preference')", name=op.f("ck_remarks_kind")),
    )


def _of_people(name: str, *own: sa.schema.SchemaItem) -> None:
    op.create_table(
        name,
        sa.Column("job_id", sa.String, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        *own,
        sa.Column("more", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=f"fk_{name}_job_id", ondelete="CASCADE"
        ),
    )
