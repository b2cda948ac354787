"""How many jobs rest, for a monitor: nobody is to work on them at the moment."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

# A job rests while one of its steps does, nobody works on another, and none waits to be taken up.
STANDING = """
    SELECT jobs.status, count(*) AS jobs, min(jobs.created_at) AS oldest,
           COALESCE(sum(work.claimed), 0) AS claimed, max(work.alive) AS alive,
           COALESCE(sum(CASE WHEN work.rests > 0 AND work.claimed = 0 AND work.waits = 0
                             THEN 1 ELSE 0 END), 0) AS resting
    FROM jobs LEFT JOIN (
        SELECT job_id, max(heartbeat_at) AS alive,
               sum(CASE WHEN expires_at > CURRENT_TIMESTAMP THEN 1 ELSE 0 END) AS claimed,
               sum(CASE WHEN resting_until > CURRENT_TIMESTAMP THEN 1 ELSE 0 END) AS rests,
               sum(CASE WHEN (offered_until IS NOT NULL OR owner IS NOT NULL)
                         AND COALESCE(expires_at <= CURRENT_TIMESTAMP, TRUE)
                         AND COALESCE(resting_until <= CURRENT_TIMESTAMP, TRUE)
                        THEN 1 ELSE 0 END) AS waits
        FROM claims GROUP BY job_id
    ) AS work ON work.job_id = jobs.id
    GROUP BY jobs.status
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":  # which keeps who may read it
        op.execute(f"CREATE OR REPLACE VIEW standing AS {STANDING}")
        return
    op.execute("DROP VIEW standing")
    op.execute(f"CREATE VIEW standing AS {STANDING}")
