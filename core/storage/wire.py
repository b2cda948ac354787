"""One connection to PostgreSQL on which several statements are sent in one go, and answered in one.

psycopg's own pipelines wait for the event loop at every statement.  Here everything is sent, and then
read, by the functions of libpq that psycopg passes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeAlias

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.json import set_json_loads
from pydantic_core import from_json

from core.storage.ready import Ready

Asked: TypeAlias = tuple[Ready, Mapping[str, object]]
Rows: TypeAlias = list[dict[str, Any]]  # Any: of every type that a column has


class Wire:
    """A connection; whoever holds it is alone with it."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        set_json_loads(from_json, connection)
        self._connection = connection
        self._pg = connection.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._loaders = Transformer(connection)
        self._names: dict[bytes, bytes] = {}  # text of a statement -> its name on the server
        self._columns: dict[bytes, tuple[str, ...]] = {}

    @property
    def resting(self) -> bool:
        """Tell whether nothing is under way on the connection, and it is whole."""
        return self._pg.transaction_status == TransactionStatus.IDLE

    def cut(self) -> None:
        """Close the connection; whatever the server still says on it belongs to nobody."""
        self._pg.finish()

    async def ask(self, *asked: Asked) -> list[Rows]:
        """Send statements in one go, and return the rows of each.

        Outside of BEGIN and COMMIT they are one transaction.

        Raises:
            psycopg.Error: one of them failed, and those after it were not carried out; or the
                connection is broken.
        """
        learnt: dict[bytes, bytes] = {}
        expected: list[Ready | None] = []  # None: for the answer to a preparation
        for ready, values in asked:
            name = self._names.get(ready.text) or learnt.get(ready.text)
            if name is None:
                name = learnt[ready.text] = b"rw%d" % (len(self._names) + len(learnt))
                self._pg.send_prepare(name, ready.text)
                expected.append(None)
            self._pg.send_query_prepared(name, ready.given(values))
            expected.append(ready)
        self._pg.pipeline_sync()
        results = await self._results()
        self._names |= learnt
        pairs = zip(expected, results, strict=True)
        return [self._rows(ready, result) for ready, result in pairs if ready is not None]

    async def _results(self) -> list[PGresult]:
        """Return what is answered, up to the mark that was set behind the last question."""
        while self._pg.flush():
            await _until(self._pg.socket, write=True)
        found: list[PGresult] = []
        failed: PGresult | None = None
        while True:
            while self._pg.is_busy():
                await _until(self._pg.socket)
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is None:
                continue  # the end of one answer
            if result.status == ExecStatus.PIPELINE_SYNC:
                break
            if result.status == ExecStatus.FATAL_ERROR:
                failed = failed or result
            found.append(result)
        if failed is not None:
            raise error_from_result(failed)
        return found

    def _rows(self, ready: Ready, result: PGresult) -> Rows:
        if not result.ntuples:
            return []
        if ready.text not in self._columns:
            numbers = range(result.nfields)
            self._columns[ready.text] = tuple((result.fname(n) or b"").decode() for n in numbers)
        columns = self._columns[ready.text]
        self._loaders.set_pgresult(result)
        return self._loaders.load_rows(
            0, result.ntuples, lambda values: dict(zip(columns, values, strict=True))
        )


async def _until(socket: int, *, write: bool = False) -> None:
    """Wait until a socket can be read, or written as well."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(socket, tell)
    if write:
        loop.add_writer(socket, tell)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if write:
            loop.remove_writer(socket)
