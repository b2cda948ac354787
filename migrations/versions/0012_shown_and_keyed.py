"""Films for people to judge, and which key a job was submitted with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0010"


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("key_id", sa.String, nullable=True))
    with op.batch_alter_table("rollouts") as rollouts:
        rollouts.add_column(sa.Column("stage", sa.String, nullable=False, server_default="confirm"))
        rollouts.drop_constraint(op.f("pk_rollouts"), type_="primary")
        rollouts.create_primary_key(
            op.f("pk_rollouts"), ["job_id", "extension", "arm", "episode", "stage"]
        )
