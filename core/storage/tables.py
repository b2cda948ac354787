"""The tables: one model for SQLite and PostgreSQL.

jobs ─┬─ iterations ─┬─ candidates ── checks
      │              └─ feedback
      ├─ runs ── curves          facts: written once under their natural key
      ├─ given, remarks          what people handed in and said
      ├─ saved                   how far runs under way have come; replaced, then forgotten
      ├─ evaluations, exchanges, artifacts
      ├─ imports                 lines of an export, until a worker has taken them in
      ├─ rollouts                filmed episodes, of confirmations' runs and for people to judge
      ├─ events                  numbered per job, without gaps
      ├─ deliveries              messages to a webhook, until they are taken or given up
      ├─ reservations            set aside for questions whose answers are not stored
      └─ claims                  who works on which step, until when
endpoints                        how designers' endpoints are doing, as all workers have found
keys                             who may ask, and for whom
audit                            who asked for which change; outlives the job
discarded                        files that are not needed any more, until a worker has removed them
workers                          which there are, and when each was last seen

Every row but those of the last five belongs to a job, and through it to the job's owner.

Structured values are plain `JSON` on both engines, not JSONB: JSONB forgets the order of keys, and
the order of components and parameters is part of the record.  A `more` column takes the fields of a
record that have no column of their own, so that a record may grow without a migration.
"""

from __future__ import annotations

from typing import Any, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from core.records.kinds import JobStatus, RemarkKind, Stage
from core.storage.clock import UtcTime

HEAD = "0013"  # the revision of `migrations/` that makes these tables; a test compares them

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
LOCAL = "local"  # owner of what is asked without a key
LARGEST_DOUBLE = "1.7976931348623157e308"

JOB_STATUSES = get_args(JobStatus)
STAGES = get_args(Stage)

metadata = MetaData(naming_convention=NAMES)


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _finite(column: str) -> CheckConstraint:
    # Refuses NaN as well: PostgreSQL sorts it above every number.  SQLite never sees one, because
    # it reads NaN as NULL; there the store's door is the only guard.
    bounds = f"BETWEEN -{LARGEST_DOUBLE} AND {LARGEST_DOUBLE}"
    return CheckConstraint(f"{column} {bounds}", name=f"{column}_finite")


def _number(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Double, nullable=nullable)


def _integer(name: str, *, nullable: bool = False, key: bool = False) -> Column[Any]:
    return Column(name, BigInteger, nullable=nullable, primary_key=key, autoincrement=False)


def _integer_keys(*names: str) -> list[Column[Any]]:
    return [_integer(name, key=True) for name in names]


def _text(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text, nullable=nullable)


def _word(name: str, *, nullable: bool = False, key: bool = False) -> Column[Any]:
    return Column(name, String, nullable=nullable, primary_key=key)


def _flag(name: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False)


def _json(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, JSON(none_as_null=True), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, UtcTime, nullable=nullable)


def _job() -> Column[Any]:
    return Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)


def _belongs_to(table: str, **columns: str) -> ForeignKeyConstraint:
    there = [f"{table}.{column}" for column in columns.values()]
    return ForeignKeyConstraint(list(columns), there, ondelete="CASCADE")


jobs = Table(
    "jobs",
    metadata,
    _word("id", key=True),
    _text("name", nullable=True),
    _text("notes", nullable=True),
    *map(_json, ("labels", "spec")),
    _word("task"),
    _word("method"),
    _word("idempotency_key", nullable=True),
    _word("body_sha256"),
    *map(_word, ("status", "phase")),
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
    Column("money", Double, nullable=False, server_default="0"),
    Column("extensions", BigInteger, nullable=False, server_default="0"),
    _json("examples", nullable=True),
    _json("webhook", nullable=True),
    _time("created_at"),
    _time("started_at", nullable=True),
    _time("finished_at", nullable=True),
    _time("rested_at", nullable=True),  # since when nobody may work on it
    Column("idle_seconds", Double, nullable=False, server_default="0"),  # of the rests before
    Column("owner", String, nullable=False, server_default=LOCAL),
    _word("origin", nullable=True),  # of an imported job: its id where it was exported
    _word("key_id", nullable=True),  # of the key that it was submitted with; None without one
    _one_of("status", *JOB_STATUSES),
    *map(_finite, ("best_fitness", "native_fitness", "money", "idle_seconds")),
    UniqueConstraint("owner", "idempotency_key"),
    Index(None, "status", "id"),
    Index(None, "task", "id"),
    Index(None, "owner", "id"),
    Index(None, "owner", "status"),
)

iterations = Table(
    "iterations",
    metadata,
    _job(),
    _integer("number", key=True),
    _flag("proposed"),
    _time("created_at"),
)

candidates = Table(
    "candidates",
    metadata,
    _job(),
    *_integer_keys("iteration", "number"),
    _word("operator"),
    _word("status"),
    *map(_text, ("analysis", "prediction")),
    _text("rejection", nullable=True),
    _word("program_sha256", nullable=True),
    _number("fitness", nullable=True),
    _json("more"),
    _time("created_at"),
    _belongs_to("iterations", job_id="job_id", iteration="number"),
    _one_of("status", "proposed", "rejected", "screened", "trained", "failed"),
    _finite("fitness"),
    Index(None, "program_sha256"),
)

checks = Table(
    "checks",
    metadata,
    _word("job_id", key=True),
    *_integer_keys("iteration", "number", "position"),
    _word("rule"),
    _flag("passed"),
    _text("message"),
    _json("more"),
    _belongs_to("candidates", job_id="job_id", iteration="iteration", number="number"),
)

runs = Table(
    "runs",
    metadata,
    _job(),
    _word("stage", key=True),
    _word("arm", key=True),
    _integer("seed", key=True),
    _integer("rung", key=True),
    _integer("iteration", nullable=True),  # of the arm's candidate; NULL for the native arm
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
    _belongs_to("candidates", job_id="job_id", iteration="iteration", number="number"),
    _one_of("status", "scored", "failed"),
    _one_of("stage", *STAGES),
    *map(_finite, ("fitness", "seconds")),
    # A scored run without a number would be ranked as if it had never been trained.
    CheckConstraint("status <> 'scored' OR fitness IS NOT NULL", name="scored_has_fitness"),
    Index(None, "job_id", "iteration", "number"),
)

curves = Table(
    "curves",
    metadata,
    *(_word(name, key=True) for name in ("job_id", "stage", "arm")),
    *_integer_keys("seed", "rung"),
    *_integer_keys("position", "chunk"),  # position 0 holds the steps, the series follow in order
    _word("series"),
    _integer("points"),
    Column("data", LargeBinary, nullable=False),
    _belongs_to("runs", job_id="job_id", stage="stage", arm="arm", seed="seed", rung="rung"),
)

saved = Table(
    "saved",
    metadata,
    _job(),
    _word("stage", key=True),
    _word("arm", key=True),
    _integer("seed", key=True),
    _integer("rung", key=True),
    _integer("env_steps"),
    _word("checkpoint", nullable=True),
    _text("failure", nullable=True),
    _json("more"),
    _time("created_at"),
    _one_of("stage", *STAGES),
)

evaluations = Table(
    "evaluations",
    metadata,
    _job(),
    _word("stage", key=True),
    _word("arm", key=True),
    _integer("rung", key=True),
    _json("report"),
    _time("created_at"),
)

feedback = Table(
    "feedback",
    metadata,
    _job(),
    _integer("iteration", key=True),
    _text("text"),
    _word("best", nullable=True),
    _json("more"),
    _time("created_at"),
    _belongs_to("iterations", job_id="job_id", iteration="number"),
)

given = Table(
    "given",
    metadata,
    _job(),
    _integer("number", key=True),
    _text("source"),
    _json("more"),
    _time("created_at"),
)

remarks = Table(
    "remarks",
    metadata,
    _job(),
    _integer("number", key=True),
    _word("kind"),
    _text("text"),
    _json("more"),
    _time("created_at"),
    _one_of("kind", *get_args(RemarkKind)),
)

exchanges = Table(
    "exchanges",
    metadata,
    _job(),
    *_integer_keys("iteration", "slot", "attempt"),
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
    _finite("latency_seconds"),
)

rollouts = Table(
    "rollouts",
    metadata,
    _job(),
    _integer("extension", key=True),
    _word("arm", key=True),
    _integer("episode", key=True),
    Column("stage", String, primary_key=True, server_default="confirm"),
    _integer("seed"),
    *(_number(name, nullable=True) for name in ("fitness", "native")),
    *(_word(name, nullable=True) for name in ("video", "preview", "trace")),
    _text("failure", nullable=True),
    _json("more"),
    _time("created_at"),
    *map(_finite, ("fitness", "native")),
)

imports = Table(
    "imports",
    metadata,
    _job(),
    Column("content", LargeBinary, nullable=False),
    _time("created_at"),
)

artifacts = Table(
    "artifacts",
    metadata,
    _job(),
    _word("sha256", key=True),
    _word("kind"),
    _time("created_at"),
    Index(None, "sha256"),
)

events = Table(
    "events",
    metadata,
    _job(),
    _integer("seq", key=True),
    _word("kind"),
    _word("level"),
    _text("message"),
    _json("data"),
    _time("created_at"),
    _integer("fence", nullable=True),  # of the claim whose owner wrote it
)

deliveries = Table(
    "deliveries",
    metadata,
    _job(),
    _integer("seq", key=True),  # of the event that it tells of
    _word("status"),
    _integer("attempts"),
    _json("log"),
    _time("not_before"),
    _time("created_at"),
    _one_of("status", "waiting", "delivered", "failed"),
    _belongs_to("events", job_id="job_id", seq="seq"),
    Index(None, "status", "not_before"),
)

reservations = Table(
    "reservations",
    metadata,
    _job(),
    *_integer_keys("iteration", "slot", "attempt", "fence"),
    _integer("tokens"),
    _number("money"),
    _time("created_at"),
    _finite("money"),
)

endpoints = Table(
    "endpoints",
    metadata,
    _word("name", key=True),
    _number("calls"),
    _time("counted_at", nullable=True),
    _integer("failures"),
    _time("failing_since", nullable=True),
    _time("closed_until", nullable=True),
    _finite("calls"),
)

claims = Table(
    "claims",
    metadata,
    _job(),
    _word("step_key", key=True),
    _word("owner", nullable=True),  # NULL: nobody; so is expires_at then
    _integer("fence", nullable=True),  # of the owner, or of the last one
    _integer("lapses"),  # how many owners vanished without a word
    _json("progress", nullable=True),
    _time("claimed_at", nullable=True),
    _time("heartbeat_at", nullable=True),
    _time("expires_at", nullable=True),
    _time("offered_until", nullable=True),
    _time("resting_until", nullable=True),
    _text("resting_reason", nullable=True),
)

keys = Table(
    "keys",
    metadata,
    _word("id", key=True),
    _word("owner"),
    _text("name"),
    _json("scopes"),
    _word("sha256"),  # of the secret, which is stored nowhere
    _time("created_at"),
    _time("expires_at", nullable=True),
    _time("revoked_at", nullable=True),
    _time("last_used_at", nullable=True),
)

audit = Table(
    "audit",
    metadata,
    _word("id", key=True),
    _word("owner"),
    _word("key_id", nullable=True),  # NULL: without a key, or on the server's own command line
    _word("request_id", nullable=True),
    _word("action"),
    _word("subject", nullable=True),  # the job or key that it was about
    _time("created_at"),
    Index(None, "owner", "id"),
)

discarded = Table(
    "discarded",
    metadata,
    _word("sha256", key=True),
    _time("created_at"),
)

workers = Table(
    "workers",
    metadata,
    _word("name", key=True),
    _json("queues"),
    *map(_integer, ("slots", "busy")),
    _word("device"),
    _time("started_at"),
    _time("seen_at"),
)
