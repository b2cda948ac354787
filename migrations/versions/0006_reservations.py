"""Who wrote an event, what is set aside for questions under way, and how endpoints are doing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

LARGEST = "1.7976931348623157e308"


def upgrade() -> None:
    with op.batch_alter_table("events") as events:
        events.add_column(sa.Column("fence", sa.BigInteger, nullable=True))
    op.create_table(
        "reservations",
        sa.Column("job_id", sa.String, nullable=False),
        *(_number(name) for name in ("iteration", "slot", "attempt", "fence", "tokens")),
        sa.Column("money", sa.Double, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_reservations_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "job_id", "iteration", "slot", "attempt", "fence", name=op.f("pk_reservations")
        ),
        sa.CheckConstraint(
            f"money BETWEEN -{LARGEST} AND {LARGEST}", name=op.f("ck_reservations_money_finite")
        ),
    )
    op.create_table(
        "endpoints",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("calls", sa.Double, nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_endpoints")),
        sa.CheckConstraint(
            f"calls BETWEEN -{LARGEST} AND {LARGEST}", name=op.f("ck_endpoints_calls_finite")
        ),
    )

    if op.get_bind().dialect.name == "postgresql":
        _hide_reservations()


def _hide_reservations() -> None:
    """Show a role that does not own the table only the rows of jobs that it sees."""
    seen = "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = reservations.job_id)"
    op.execute("ALTER TABLE reservations ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY owners ON reservations USING ({seen}) WITH CHECK ({seen})")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)
