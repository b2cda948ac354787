"""First tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

LARGEST_DOUBLE = "1.7976931348623157e308"


def upgrade() -> None:
    for make in (_jobs, _iterations, _candidates, _checks, _runs, _curves):
        make()
    for make in (_evaluations, _feedback, _exchanges, _artifacts, _events, _claims):
        make()


def _text(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _word(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String, nullable=nullable)


def _integer(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, autoincrement=False)


def _number(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _json(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=nullable)


def _time(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _of(table: str, parent: str, **columns: str) -> sa.ForeignKeyConstraint:
    there = [f"{parent}.{column}" for column in columns.values()]
    name = f"fk_{table}_{'_'.join(columns)}"
    return sa.ForeignKeyConstraint(list(columns), there, name=name, ondelete="CASCADE")


def _of_job(table: str) -> sa.ForeignKeyConstraint:
    return _of(table, "jobs", job_id="id")


def _one_of(table: str, column: str, *values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}"))


def _finite(table: str, column: str) -> sa.CheckConstraint:
    bounds = f"{column} BETWEEN -{LARGEST_DOUBLE} AND {LARGEST_DOUBLE}"
    return sa.CheckConstraint(bounds, name=op.f(f"ck_{table}_{column}_finite"))


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _jobs() -> None:
    op.create_table(
        "jobs",
        _word("id"),
        _text("name", nullable=True),
        *map(_json, ("labels", "spec")),
        *map(_word, ("task", "method")),
        _word("idempotency_key", nullable=True),
        *map(_word, ("body_sha256", "status", "phase")),
        *map(_flag, ("cancel_requested", "pause_requested")),
        _word("failure_reason", nullable=True),
        _text("failure_message", nullable=True),
        _json("failure_data", nullable=True),
        _json("preflight", nullable=True),
        _json("outcome", nullable=True),
        _word("best_candidate", nullable=True),
        _number("best_fitness", nullable=True),
        _number("native_fitness", nullable=True),
        *map(_integer, ("iteration", "env_steps", "tokens", "fence_count", "event_count")),
        _time("created_at"),
        _time("started_at", nullable=True),
        _time("finished_at", nullable=True),
        _key("jobs", "id"),
        sa.UniqueConstraint("idempotency_key", name="uq_jobs_idempotency_key"),
        _one_of(
            "jobs", "status", "queued", "running", "paused", "succeeded", "failed", "cancelled"
        ),
        _finite("jobs", "best_fitness"),
        _finite("jobs", "native_fitness"),
    )
    _index("jobs", "status", "id")
    _index("jobs", "task", "id")


def _iterations() -> None:
    op.create_table(
        "iterations",
        _word("job_id"),
        _integer("number"),
        _flag("proposed"),
        _time("created_at"),
        _key("iterations", "job_id", "number"),
        _of_job("iterations"),
    )


def _candidates() -> None:
    op.create_table(
        "candidates",
        _word("job_id"),
        *map(_integer, ("iteration", "number")),
        *map(_word, ("operator", "status")),
        *map(_text, ("analysis", "prediction")),
        _text("rejection", nullable=True),
        _word("program_sha256", nullable=True),
        _number("fitness", nullable=True),
        _json("more"),
        _time("created_at"),
        _key("candidates", "job_id", "iteration", "number"),
        _of_job("candidates"),
        _of("candidates", "iterations", job_id="job_id", iteration="number"),
        _one_of("candidates", "status", "proposed", "rejected", "screened", "trained", "failed"),
        _finite("candidates", "fitness"),
    )
    _index("candidates", "program_sha256")


def _checks() -> None:
    op.create_table(
        "checks",
        _word("job_id"),
        *map(_integer, ("iteration", "number", "position")),
        _word("rule"),
        _flag("passed"),
        _text("message"),
        _json("more"),
        _key("checks", "job_id", "iteration", "number", "position"),
        _of("checks", "candidates", job_id="job_id", iteration="iteration", number="number"),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        *map(_word, ("job_id", "stage", "arm")),
        *map(_integer, ("seed", "rung")),
        _integer("iteration", nullable=True),
        _integer("number", nullable=True),
        _word("status"),
        _number("fitness", nullable=True),
        _integer("env_steps"),
        _number("seconds"),
        _text("failure", nullable=True),
        _word("weights", nullable=True),
        _word("checkpoint", nullable=True),
        _integer("isolation_level"),
        _json("more"),
        _time("created_at"),
        _key("runs", "job_id", "stage", "arm", "seed", "rung"),
        _of_job("runs"),
        _of("runs", "candidates", job_id="job_id", iteration="iteration", number="number"),
        _one_of("runs", "status", "scored", "failed"),
        _one_of("runs", "stage", "baseline", "search", "confirm"),
        _finite("runs", "fitness"),
        _finite("runs", "seconds"),
        sa.CheckConstraint(
            "status <> 'scored' OR fitness IS NOT NULL", name=op.f("ck_runs_scored_has_fitness")
        ),
    )
    _index("runs", "job_id", "iteration", "number")


def _curves() -> None:
    run = ("job_id", "stage", "arm", "seed", "rung")
    op.create_table(
        "curves",
        *map(_word, run[:3]),
        *map(_integer, run[3:]),
        *map(_integer, ("position", "chunk")),
        _word("series"),
        _integer("points"),
        sa.Column("data", sa.LargeBinary, nullable=False),
        _key("curves", *run, "position", "chunk"),
        _of("curves", "runs", **dict(zip(run, run, strict=True))),
    )


def _evaluations() -> None:
    op.create_table(
        "evaluations",
        *map(_word, ("job_id", "stage", "arm")),
        _integer("rung"),
        _json("report"),
        _time("created_at"),
        _key("evaluations", "job_id", "stage", "arm", "rung"),
        _of_job("evaluations"),
    )


def _feedback() -> None:
    op.create_table(
        "feedback",
        _word("job_id"),
        _integer("iteration"),
        _text("text"),
        _word("best", nullable=True),
        _json("more"),
        _time("created_at"),
        _key("feedback", "job_id", "iteration"),
        _of_job("feedback"),
        _of("feedback", "iterations", job_id="job_id", iteration="number"),
    )


def _exchanges() -> None:
    op.create_table(
        "exchanges",
        _word("job_id"),
        *map(_integer, ("iteration", "slot", "attempt")),
        _word("designer"),
        _json("prompt"),
        _text("text"),
        _word("outcome"),
        _text("detail"),
        _word("model"),
        _word("request_id", nullable=True),
        _word("finish_reason", nullable=True),
        _integer("prompt_tokens", nullable=True),
        _integer("completion_tokens", nullable=True),
        _number("latency_seconds"),
        *map(_json, ("request", "response", "more")),
        _time("created_at"),
        _key("exchanges", "job_id", "iteration", "slot", "attempt"),
        _of_job("exchanges"),
        _finite("exchanges", "latency_seconds"),
    )


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        *map(_word, ("job_id", "sha256", "kind")),
        _time("created_at"),
        _key("artifacts", "job_id", "sha256"),
        _of_job("artifacts"),
    )
    _index("artifacts", "sha256")


def _events() -> None:
    op.create_table(
        "events",
        _word("job_id"),
        _integer("seq"),
        *map(_word, ("kind", "level")),
        _text("message"),
        _json("data"),
        _time("created_at"),
        _key("events", "job_id", "seq"),
        _of_job("events"),
    )


def _claims() -> None:
    op.create_table(
        "claims",
        *map(_word, ("job_id", "step_key")),
        _word("owner", nullable=True),
        _integer("fence", nullable=True),
        _integer("lapses"),
        _json("progress", nullable=True),
        _time("claimed_at", nullable=True),
        _time("heartbeat_at", nullable=True),
        _time("expires_at", nullable=True),
        _time("offered_until", nullable=True),
        _time("resting_until", nullable=True),
        _text("resting_reason", nullable=True),
        _key("claims", "job_id", "step_key"),
        _of_job("claims"),
    )
