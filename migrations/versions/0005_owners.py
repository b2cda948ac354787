"""Owners, keys, the audit, and files that wait to be removed; on PostgreSQL, row-level security."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

OF_A_JOB = (
    *("iterations", "candidates", "checks", "runs", "curves", "saved", "evaluations", "feedback"),
    *("given", "remarks", "exchanges", "artifacts", "events", "claims"),
)
# On PostgreSQL a view sees with the eyes of its owner, so that sums are told across all owners.
STANDING = """
    CREATE VIEW standing AS
    SELECT jobs.status, count(*) AS jobs, min(jobs.created_at) AS oldest,
           COALESCE(sum(work.claimed), 0) AS claimed, max(work.alive) AS alive
    FROM jobs LEFT JOIN (
        SELECT job_id, max(heartbeat_at) AS alive,
               sum(CASE WHEN expires_at > CURRENT_TIMESTAMP THEN 1 ELSE 0 END) AS claimed
        FROM claims GROUP BY job_id
    ) AS work ON work.job_id = jobs.id
    GROUP BY jobs.status
"""
MINE = "owner = current_setting('rewardsmith.owner', true)"


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("owner", sa.String, nullable=False, server_default="local"))
        jobs.drop_constraint("uq_jobs_idempotency_key", type_="unique")
        jobs.create_unique_constraint("uq_jobs_owner_idempotency_key", ["owner", "idempotency_key"])
    op.create_index("ix_jobs_owner_id", "jobs", ["owner", "id"])
    op.create_index("ix_jobs_owner_status", "jobs", ["owner", "status"])
    op.create_table(
        "keys",
        *_words("id", "owner"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON(none_as_null=True), nullable=False),
        *_words("sha256"),
        _time("created_at", nullable=False),
        *map(_time, ("expires_at", "revoked_at", "last_used_at")),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_table(
        "audit",
        *_words("id", "owner"),
        *_words("key_id", "request_id", nullable=True),
        *_words("action"),
        *_words("subject", nullable=True),
        _time("created_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_owner_id", "audit", ["owner", "id"])
    op.create_table(
        "discarded",
        *_words("sha256"),
        _time("created_at", nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_discarded"),
    )
    op.execute(STANDING)
    if op.get_bind().dialect.name == "postgresql":
        _hide_rows()


def _hide_rows() -> None:
    """Show a role that does not own the tables only the rows of the owner that it names.

    A row of a job is hidden with its job: the inner query is under the policy of `jobs` itself.
    """
    _policy("jobs", MINE)
    for table in OF_A_JOB:
        _policy(table, f"EXISTS (SELECT 1 FROM jobs WHERE jobs.id = {table}.job_id)")


def _policy(table: str, seen: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY owners ON {table} USING ({seen}) WITH CHECK ({seen})")


def _words(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String, nullable=nullable) for name in names]


def _time(name: str, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
