"""Requests that change a job, each carried out once however often it is sent.

What a request did is told by its event; the event also keeps the request's idempotency key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from core.errors import IdempotencyMismatch
from core.storage.tables import events


@dataclass(frozen=True, slots=True)
class Request:
    """How a request can be told from others: its idempotency key, and the sha256 of its body."""

    key: str | None = None
    body_sha256: str = ""

    def marks(self) -> dict[str, str]:
        """Return what the event of the request keeps."""
        if self.key is None:
            return {}
        return {"idempotency_key": self.key, "body_sha256": self.body_sha256}


UNMARKED = Request()


def earlier(
    connection: Connection, job_id: str, kind: str, request: Request
) -> dict[str, Any] | None:
    """Return the data of the event by which the same request was carried out before.

    The job's row is locked, so that two of the same cannot overlook each other.

    Raises:
        IdempotencyMismatch: the key was used with another body.
    """
    if request.key is None:
        return None
    marked: Any = events.c.data["idempotency_key"].as_string() == request.key
    query = select(events.c.data).where(events.c.job_id == job_id, events.c.kind == kind, marked)
    found = connection.execute(query).scalars().first()
    if found is None:
        return None
    if found["body_sha256"] != request.body_sha256:
        raise mismatch(f"an earlier request to job {job_id}")
    told: dict[str, Any] = found
    return told


def mismatch(owner: str) -> IdempotencyMismatch:
    """Return the refusal of a key that belongs to something else."""
    return IdempotencyMismatch(
        f"the idempotency key of {owner} with another body",
        expected="a new key for a new request",
        hint="Draw another key, or send the same body again.",
    )
