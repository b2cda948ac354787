"""Requests that survive a restart of the server, and event streams that survive a cut; asynchronous.

Made from `client/transport.py` by `python -m client.twins`.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from client.saving import whole_file
from client.transport import (
    ATTEMPTS,
    BUSY,
    GONE,
    PAUSE_SECONDS,
    RETRIED,
    STREAM_SILENCE_SECONDS,
    ApiProblem,
    Document,
    StreamedEvent,
    Unreachable,
    _accepted,
    _asked_pause,
    _foreign,
    _passes,
    _reason,
    _too_long,
    of_ours,
    parsed,
    read_model,
    readable_key,
    trusted,
    usual_key,
    usual_url,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)


class AsyncTransport:
    """Speaks HTTP with one server."""

    def __init__(
        self, base_url: str | None = None, *, key: str | None = None, timeout: float = 30.0
    ) -> None:
        self.base_url = base_url.rstrip("/") if base_url else usual_url()
        key = readable_key(key, "key of the client") or usual_key()
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            self._http = httpx2.AsyncClient(
                base_url=self.base_url, timeout=timeout, headers=headers, verify=trusted()
            )
        except httpx2.InvalidURL as error:
            raise Unreachable(self.base_url, _reason(error)) from error

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def document(self, method: str, path: str, **options: Any) -> Document:
        """Send a request and return the JSON of its answer.

        Raises:
            ApiProblem: the server refused, or is another program.
            Unreachable: nobody answered.
        """
        answer = await self.answer(method, path, **options)
        found = parsed(answer)
        if not isinstance(found, dict):
            raise ApiProblem(_foreign(answer))
        return found

    async def read(self, kind: type[M], method: str, path: str, **options: Any) -> M:
        """Send a request and return its answer as the server's own model.

        Raises:
            ApiProblem: the server refused, or speaks another version.
            Unreachable: nobody answered.
        """
        return read_model(kind, (await self.answer(method, path, **options)).content)

    async def post(self, path: str, body: Mapping[str, object] | None = None) -> httpx2.Response:
        """Send a request that is carried out once, however often it has to be repeated."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return await self.answer("POST", path, json=body, headers=headers)

    async def pages(
        self, path: str, limit: int, filters: Mapping[str, str | None]
    ) -> AsyncIterator[Document]:
        """Yield the items of a list that comes in pages, as far as the caller reads."""
        after: str | None = None
        while True:
            asked = {"after": after, "limit": limit, **filters}
            params = {name: value for name, value in asked.items() if value is not None}
            page = of_ours(await self.document("GET", path, params=params), "data", "next")
            for item in page["data"]:
                yield item
            after = page["next"]
            if after is None:
                return

    async def answer(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request, again if nobody answers or the server is not ready.

        Raises:
            ApiProblem: the server refused.
            Unreachable: nobody answered.
        """
        lost = False
        for attempt in range(1, ATTEMPTS + 1):
            pause = PAUSE_SECONDS * 2 ** (attempt - 1)
            try:
                response = await self._http.request(method, path, **options)
            except httpx2.TransportError as error:
                if attempt == ATTEMPTS:
                    raise Unreachable(self.base_url, _reason(error)) from error
                lost = lost or not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            except httpx2.InvalidURL as error:
                raise Unreachable(self.base_url, _reason(error)) from error
            else:
                if lost and method == "DELETE" and (response.status_code == GONE):
                    return response
                if response.status_code not in RETRIED or attempt == ATTEMPTS:
                    return _accepted(response)
                lost = lost or response.status_code != BUSY
                pause = _asked_pause(response, pause)
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def stream(self, path: str, after: int) -> AsyncIterator[StreamedEvent]:
        """Yield the events after number `after` until the server says that there will be no more.

        A cut connection is taken up again where it broke: every numbered event comes exactly once.

        Raises:
            ApiProblem: the server refused.
            Unreachable: nobody answered for two minutes.
        """
        last, alone_since, pause = (after, time.monotonic(), PAUSE_SECONDS)
        while True:
            answered = False
            try:
                async for event in self._connection(path, last):
                    answered = True
                    if event is None:
                        continue
                    pause = PAUSE_SECONDS
                    if event.seq is not None and event.seq <= last:
                        continue
                    last = last if event.seq is None else event.seq
                    yield event
                    if event.kind == "end":
                        return
            except httpx2.TransportError as error:
                if not answered and _too_long(alone_since):
                    raise Unreachable(self.base_url, _reason(error)) from error
            except ApiProblem as error:
                if not _passes(error) or _too_long(alone_since):
                    raise
            alone_since = time.monotonic() if answered else alone_since
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def lines(self, path: str, params: Mapping[str, str]) -> AsyncIterator[str]:
        """Yield the lines of an answer as they arrive.

        Raises:
            ApiProblem: the server refused.
            Unreachable: nobody answered, or the connection was cut.
        """
        try:
            async with self._http.stream("GET", path, params=params) as response:
                if response.is_error:
                    await response.aread()
                _accepted(response)
                async for item in response.aiter_lines():
                    yield item
        except httpx2.TransportError as error:
            raise Unreachable(self.base_url, _reason(error)) from error

    async def download(self, path: str, target: Path) -> Path:
        """Write an answer to a file as it arrives; the file is there once it is whole.

        Raises:
            ApiProblem: the server refused.
            Unreachable: nobody answered, or the connection was cut.
        """
        try:
            async with self._http.stream("GET", path) as response:
                if response.is_error:
                    await response.aread()
                _accepted(response)
                with whole_file(target) as out:
                    async for chunk in response.aiter_bytes():
                        out.write(chunk)
            return target
        except httpx2.TransportError as error:
            raise Unreachable(self.base_url, _reason(error)) from error

    async def _connection(self, path: str, last: int) -> AsyncIterator[StreamedEvent | None]:
        """Yield None once the server has answered, then the events as they come."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        timeout = httpx2.Timeout(10.0, read=STREAM_SILENCE_SECONDS)
        async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.is_error:
                await response.aread()
                _accepted(response)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise ApiProblem(_foreign(response))
            yield None
            async for event in httpx2.EventSource(response):
                data = json.loads(event.data) if event.data else {}
                yield StreamedEvent(event.event, data, data.get("id"))
