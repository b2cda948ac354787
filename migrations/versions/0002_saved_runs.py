"""How far runs under way have come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = ("job_id", "stage", "arm", "seed", "rung")


def upgrade() -> None:
    op.create_table(
        "saved",
        *(sa.Column(name, sa.String, nullable=False) for name in KEY[:3]),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False)
            for name in (*KEY[3:], "env_steps")
        ),
        sa.Column("checkpoint", sa.String, nullable=True),
        sa.Column("failure", sa.Text, nullable=True),
        sa.Column("more", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(*KEY, name="pk_saved"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_saved_job_id", ondelete="CASCADE"
        ),
        sa.CheckConstraint(
            "stage IN ('baseline', 'search', 'confirm')", name=op.f("ck_saved_stage")
        ),
    )
