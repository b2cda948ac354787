"""Runs of a runoff: a stage of its own between search and confirmation."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0007"

STAGES = "'baseline', 'search', 'runoff', 'confirm', 'ablation', 'transfer'"


def upgrade() -> None:
    for name in ("runs", "saved"):
        with op.batch_alter_table(name) as table:
            table.drop_constraint(op.f(f"ck_{name}_stage"), type_="check")
            table.create_check_constraint(op.f(f"ck_{name}_stage"), f"stage IN ({STAGES})")
