"""Filmed episodes, imported jobs, notes on a job, and which workers there are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

LARGEST = "1.7976931348623157e308"
# On PostgreSQL a view sees with the eyes of its owner: how many jobs wait before one's own, whoever
# owns them, and nothing else of them.
LINE = """
    CREATE VIEW line AS
    SELECT status, created_at FROM jobs WHERE status IN ('queued', 'running')
"""


def upgrade() -> None:
    op.add_column("jobs", sa.Column("notes", sa.Text, nullable=True))
    op.add_column("jobs", sa.Column("origin", sa.String, nullable=True))
    op.create_table(
        "imports",
        sa.Column("job_id", sa.String, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_imports_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_imports")),
    )
    op.create_table(
        "rollouts",
        sa.Column("job_id", sa.String, nullable=False),
        _number("extension"),
        sa.Column("arm", sa.String, nullable=False),
        *map(_number, ("episode", "seed")),
        *(sa.Column(name, sa.Double, nullable=True) for name in ("fitness", "native")),
        *(sa.Column(name, sa.String, nullable=True) for name in ("video", "preview", "trace")),
        sa.Column("failure", sa.Text, nullable=True),
        sa.Column("more", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_rollouts_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "extension", "arm", "episode", name=op.f("pk_rollouts")),
        *(
            sa.CheckConstraint(
                f"{name} BETWEEN -{LARGEST} AND {LARGEST}", name=op.f(f"ck_rollouts_{name}_finite")
            )
            for name in ("fitness", "native")
        ),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("queues", sa.JSON(none_as_null=True), nullable=False),
        *map(_number, ("slots", "busy")),
        sa.Column("device", sa.String, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.execute(LINE)
    if op.get_bind().dialect.name == "postgresql":
        _hide("rollouts")
        _hide("imports")


def _hide(table: str) -> None:
    """Show a role that does not own the table only the rows of jobs that it sees."""
    seen = f"EXISTS (SELECT 1 FROM jobs WHERE jobs.id = {table}.job_id)"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY owners ON {table} USING ({seen}) WITH CHECK ({seen})")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)
