"""Connections to PostgreSQL that never wait for ever.

The server's own time-outs do not help when its answer cannot reach us, and TCP's do not when something
in between goes on acknowledging what we send: a proxy, say.  Only a deadline on this side does.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")

ANSWER_SECONDS = 40.0  # the server gives up a statement after 30
ARGUMENTS = {
    "application_name": "rewardsmith",
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": "-c statement_timeout=30000 -c lock_timeout=20000"
    " -c idle_in_transaction_session_timeout=30000",
}


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is given up once an answer has not come in time."""

    answer_seconds = ANSWER_SECONDS

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer of the server; see psycopg.

        Raises:
            psycopg.OperationalError: it did not come in `answer_seconds`; the connection is closed.
        """
        limit = self.answer_seconds if timeout is None else timeout
        begun = time.monotonic()
        try:
            return super().wait(gen, interval=interval, timeout=limit)
        except psycopg.OperationalError as error:
            if timeout is not None or time.monotonic() - begun < limit:
                raise
            self.pgconn.finish()  # whatever it still says belongs to nobody
            raise psycopg.OperationalError(f"no answer within {limit:g} s") from error


def connect(
    _dialect: object, _record: object, args: list[Any], given: dict[str, Any]
) -> BoundedConnection:
    """Open a connection in place of SQLAlchemy's dialect."""
    return BoundedConnection.connect(*args, **given)
