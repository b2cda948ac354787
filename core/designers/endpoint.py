"""One HTTP attempt at a chat-completions endpoint: whatever happens, it ends in time and in memory.

The client library's time-out is per read, so that a server that drips a byte now and then would hold
a worker for ever; a deadline around the whole attempt does not let it.  The body is read up to a limit,
and uncompressed, because a small compressed body can fill the memory.  Redirects are not followed: the
key must not travel to another host.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI

from core.designers import Deadlines

UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
)
"""Errors before a question has left this machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt gave.

    Attributes:
        status:  HTTP status; None when no whole answer came.
        body:    at most `Deadlines.response_bytes`.
        headers: of the response, names in lower case.
        problem: why there is no answer, in words; "" if there is one.
        cut:     whether the body was longer than the limit.
        sent:    whether the endpoint may have got the question.
    """

    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    cut: bool = False
    sent: bool = True


def attempt(
    body: Mapping[str, Any], base_url: str, api_key: str, deadlines: Deadlines, seconds: float
) -> Answer:
    """Post one request and return its answer; errors of the network are answers too.

    Args:
        body:      model, messages and settings, as the endpoint wants them.
        base_url:  of the endpoint.
        api_key:   goes into the header alone.
        deadlines: for connecting, and the largest body.
        seconds:   for the whole attempt.
    """
    return asyncio.run(_bounded(body, base_url, api_key, deadlines, seconds))


async def _bounded(
    body: Mapping[str, Any], base_url: str, api_key: str, deadlines: Deadlines, seconds: float
) -> Answer:
    try:
        async with asyncio.timeout(seconds):
            return await _posted(body, base_url, api_key, deadlines, seconds)
    except TimeoutError:
        return Answer(problem=f"no complete answer within {seconds:g} s")


async def _posted(
    body: Mapping[str, Any], base_url: str, api_key: str, deadlines: Deadlines, seconds: float
) -> Answer:
    limit = _Limit(deadlines.response_bytes)
    timeout = httpx2.Timeout(seconds, connect=min(deadlines.connect_seconds, seconds))
    http = httpx2.AsyncClient(
        timeout=timeout, follow_redirects=False, event_hooks={"response": [limit.put_on]}
    )
    client = AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        timeout=timeout,
        http_client=http,
        default_headers={"Accept-Encoding": "identity"},
    )
    async with client:
        try:
            raw = await client.chat.completions.with_raw_response.create(**body)
            response = raw.http_response
        except APIStatusError as error:
            response = error.response
        except APIConnectionError as error:
            return Answer(problem=_problem(error), sent=not isinstance(error.__cause__, UNSENT))
        except ValueError as error:
            # The request could not be made.  What such an error says may hold the header with the key.
            return Answer(problem=type(error).__name__, sent=False)
    return Answer(
        response.status_code,
        response.content[: limit.most],
        {name.lower(): value for name, value in response.headers.items()},
        cut=limit.reached,
    )


def _problem(error: APIConnectionError) -> str:
    cause = error.__cause__ or error
    name = type(cause).__name__
    if isinstance(cause, httpx2.LocalProtocolError):
        return name  # it repeats the header that it refuses, and that may be the key's
    known = isinstance(cause, httpx2.TransportError | APIConnectionError)
    return f"{name}: {str(cause) or 'no answer'}" if known else name


class _Limit:
    """Lets a response's stream end early when its body grows too large."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.reached = False

    async def put_on(self, response: httpx2.Response) -> None:
        # An encoding that we did not ask for is not decoded: what comes then is no JSON.
        response.headers.pop("content-encoding", None)
        # Nor is a character set believed: some decode no text, or fail for what is not theirs.
        response.encoding = "utf-8"
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        response.stream = _Limited(stream, self)


class _Limited(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: _Limit) -> None:
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            yield chunk
            if size > self._limit.most:
                self._limit.reached = True
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
