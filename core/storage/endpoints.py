"""How designers' endpoints are doing, as all workers have found: one row per endpoint and model.

A bucket holds as many calls as a minute allows and fills at that rate: in the first minute after a rest
up to twice as many are made, and no more than allowed in those that follow.  After FAILURES failures
within WINDOW_SECONDS the endpoint is closed for CLOSED_SECONDS; then one call may try, and while its
answer is awaited the others wait on.  What waits asks nothing, so that an outage costs no worker its
time.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, Row, select, update

from core.storage.access import Access
from core.storage.clock import now
from core.storage.facts import insert_once
from core.storage.tables import endpoints

FAILURES = 5
WINDOW_SECONDS = 60.0
CLOSED_SECONDS = 60.0
Ended: TypeAlias = Literal["answered", "failed", "refused"]
"""How a call ended: "failed" may pass by itself, "refused" must be mended by people."""


class Endpoints(Access):
    """Whether designers' endpoints may be asked; for workers."""

    def enter(self, endpoint: str, per_minute: float | None) -> float:
        """Return 0 if an endpoint may be asked now, and count the call; else how long to wait, in s."""
        return self._of_all()._write(lambda c: enter(c, endpoint, per_minute))

    def leave(self, endpoint: str, ended: Ended) -> None:
        """Note how a call of an endpoint ended."""
        self._of_all()._write(lambda c: leave(c, endpoint, ended))


def enter(connection: Connection, name: str, per_minute: float | None) -> float:
    """Return 0 if a call may be made now, and count it; else for how many seconds to wait.

    Args:
        connection: of a transaction.
        name:       of the endpoint and the model.
        per_minute: calls that are allowed; None for any number.
    """
    row = _locked(connection, name)
    if row.closed_until is not None:
        closed = float((row.closed_until - row.now).total_seconds())
        if closed > 0:
            return closed
        # The one call that tries it keeps the others out until it has ended, or has had its time.
        _set(connection, name, closed_until=now(CLOSED_SECONDS))
    if per_minute is None:
        return 0.0
    since = (row.now - row.counted_at).total_seconds() if row.counted_at else float("inf")
    calls = min(per_minute, row.calls + max(0.0, since) * per_minute / 60.0)
    if calls < 1.0:
        return float((1.0 - calls) * 60.0 / per_minute)
    _set(connection, name, calls=calls - 1.0, counted_at=now())
    return 0.0


def leave(connection: Connection, name: str, ended: Ended) -> None:
    """Note how a call ended."""
    row = _locked(connection, name)
    if ended == "answered":
        if row.failures or row.closed_until is not None:
            _set(connection, name, failures=0, failing_since=None, closed_until=None)
        return
    recent = row.failing_since is not None
    recent = recent and (row.now - row.failing_since).total_seconds() < WINDOW_SECONDS
    failures = row.failures + 1 if recent else 1
    counted = {"failures": failures} if recent else {"failures": 1, "failing_since": now()}
    _set(connection, name, **counted)
    if failures >= FAILURES or row.closed_until is not None or ended == "refused":
        _set(connection, name, closed_until=now(CLOSED_SECONDS))


def _locked(connection: Connection, name: str) -> Row[Any]:
    insert_once(connection, endpoints, {"name": name, "calls": 0.0, "failures": 0})
    query = select(endpoints, now().label("now")).where(endpoints.c.name == name)
    return connection.execute(query.with_for_update()).one()


def _set(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(update(endpoints).where(endpoints.c.name == name).values(**values))
