"""Requests that survive a restart of the server, and event streams that survive a cut.

Only what is safe to repeat is repeated: reading always, writing because every write carries an
idempotency key or is idempotent by itself.
"""

from __future__ import annotations

import json
import os
import random
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from client.saving import whole_file
from core.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", "8700"
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # a server listens there; nobody can go there
KEY_VARIABLE = "REWARDSMITH_API_KEY"
ATTEMPTS = 4
PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0  # however much longer a server asks for
RETRIED = frozenset({502, 503, 504})
GONE = 404
BUSY = 503  # the server's own word that it did nothing
TOO_MANY = 429  # a stream comes back later; other requests are the caller's to space out
STREAM_SILENCE_SECONDS = 45.0
STREAM_PATIENCE_SECONDS = 120.0

Document = Mapping[str, Any]  # Any: a JSON document, whose shape the API's schema describes


def address(host: str, port: int | str) -> str:
    """Return the address at which a client finds a server that listens on a host and port."""
    host = ANY_HOST.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def usual_url() -> str:
    """Return where the environment says that the server is."""
    host = os.environ.get("REWARDSMITH_API_HOST") or DEFAULT_HOST
    port = os.environ.get("REWARDSMITH_API_PORT") or DEFAULT_PORT
    if port == "0":  # any free one, which only the server knows
        port = DEFAULT_PORT
    return (os.environ.get("REWARDSMITH_API_URL") or address(host, port)).rstrip("/")


def usual_key() -> str | None:
    """Return the key of the environment, if there is one.

    Raises:
        ConfigurationError: it is no text that a header could hold.
    """
    return readable_key(os.environ.get(KEY_VARIABLE), KEY_VARIABLE)


def readable_key(text: str | None, where: str) -> str | None:
    """Return a key without the blanks around it, which files that keep one end with; None for none.

    It is looked at before it is sent, for who finds fault with a header repeats the header.

    Raises:
        ConfigurationError: it is no text that a header could hold.
    """
    key = (text or "").strip()
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError(
            "something else", expected="a key of `rewardsmith keys create`", where=where
        )
    return key or None


class Unreachable(Exception):
    """No server answered at the address."""

    def __init__(self, base_url: str, reason: str) -> None:
        self.base_url = base_url
        super().__init__(
            f"no server answers at {base_url} ({reason}). "
            "Start one with `rewardsmith serve`, or set REWARDSMITH_API_URL."
        )


class ApiProblem(Exception):
    """The server refused; `problem` is its whole explanation (RFC 9457)."""

    def __init__(self, problem: Document) -> None:
        self.problem = problem
        self.status = int(problem.get("status", 0))
        self.code = str(problem.get("code", ""))
        self.hint = str(problem.get("hint") or "")
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        lines = [
            f"{self.problem.get('title', 'The server refused')}: {self.problem.get('detail', '')}"
        ]
        detail = str(self.problem.get("detail", ""))
        for place in self.problem.get("errors", ()):
            if str(place["message"]) not in detail:
                lines.append(f"  {place['pointer']}: {place['message']}")
        if self.hint and self.hint not in detail:
            lines.append(self.hint)
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One event of a stream; transient ones (`progress`, `end`) have no `seq`."""

    kind: str
    data: Document
    seq: int | None


@cache
def trusted() -> ssl.SSLContext:
    """Return whom this process trusts; reading all certificates takes 15 ms, so it is done once."""
    return httpx2.create_ssl_context()


class Transport:
    """Speaks HTTP with one server."""

    def __init__(
        self, base_url: str | None = None, *, key: str | None = None, timeout: float = 30.0
    ) -> None:
        self.base_url = base_url.rstrip("/") if base_url else usual_url()
        key = readable_key(key, "key of the client") or usual_key()
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            # Redirects are not followed, so the key does not travel to another host.
            self._http = httpx2.Client(
                base_url=self.base_url, timeout=timeout, headers=headers, verify=trusted()
            )
        except httpx2.InvalidURL as error:
            raise Unreachable(self.base_url, _reason(error)) from error

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def document(self, method: str, path: str, **options: Any) -> Document:
        """Send a request and return the JSON of its answer.

        Raises:
            ApiProblem: the server refused, or is another program.
            Unreachable: nobody answered.
        """
        answer = self.answer(method, path, **options)
        found = parsed(answer)
        if not isinstance(found, dict):
            raise ApiProblem(_foreign(answer))
        return found

    def read(self, kind: type[M], method: str, path: str, **options: Any) -> M:
        """Send a request and return its answer as the server's own model.

        Raises:
            ApiProblem: the server refused, or speaks another version.
            Unreachable: nobody answered.
        """
        return read_model(kind, self.answer(method, path, **options).content)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> httpx2.Response:
        """Send a request that is carried out once, however often it has to be repeated."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return self.answer("POST", path, json=body, headers=headers)

    def pages(self, path: str, limit: int, filters: Mapping[str, str | None]) -> Iterator[Document]:
        """Yield the items of a list that comes in pages, as far as the caller reads."""
        after: str | None = None
        while True:
            asked = {"after": after, "limit": limit, **filters}
            params = {name: value for name, value in asked.items() if value is not None}
            page = of_ours(self.document("GET", path, params=params), "data", "next")
            yield from page["data"]
            after = page["next"]
            if after is None:
                return

    def answer(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request, again if nobody answers or the server is not ready.

        Raises:
            ApiProblem: the server refused.
            Unreachable: nobody answered.
        """
        lost = False  # an answer, to what may have been carried out
        for attempt in range(1, ATTEMPTS + 1):
            pause = PAUSE_SECONDS * 2 ** (attempt - 1)
            try:
                response = self._http.request(method, path, **options)
            except httpx2.TransportError as error:
                if attempt == ATTEMPTS:
                    raise Unreachable(self.base_url, _reason(error)) from error
                lost = lost or not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            except httpx2.InvalidURL as error:
                raise Unreachable(self.base_url, _reason(error)) from error
            else:
                if lost and method == "DELETE" and response.status_code == GONE:
                    return response
                if response.status_code not in RETRIED or attempt == ATTEMPTS:
                    return _accepted(response)
                lost = lost or response.status_code != BUSY  # a gateway knows no more than we do
                pause = _asked_pause(response, pause)
            time.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def stream(self, path: str, after: int) -> Iterator[StreamedEvent]:
        """Yield the events after number `after` until the server says that there will be no more.

        A cut connection is taken up again where it broke: every numbered event comes exactly once.

        Raises:
            ApiProblem: the server refused.
            Unreachable: nobody answered for two minutes.
        """
        last, alone_since, pause = after, time.monotonic(), PAUSE_SECONDS
        while True:
            answered = False  # which a job that waits for somebody's word does without any event
            try:
                for event in self._connection(path, last):
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
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def lines(self, path: str, params: Mapping[str, str]) -> Iterator[str]:
        """Yield the lines of an answer as they arrive.

        Raises:
            ApiProblem: the server refused.
            Unreachable: nobody answered, or the connection was cut.
        """
        try:
            with self._http.stream("GET", path, params=params) as response:
                if response.is_error:
                    response.read()
                _accepted(response)
                yield from response.iter_lines()
        except httpx2.TransportError as error:
            raise Unreachable(self.base_url, _reason(error)) from error

    def download(self, path: str, target: Path) -> Path:
        """Write an answer to a file as it arrives; the file is there once it is whole.

        Raises:
            ApiProblem: the server refused.
            Unreachable: nobody answered, or the connection was cut.
        """
        try:
            with self._http.stream("GET", path) as response:
                if response.is_error:
                    response.read()
                _accepted(response)
                with whole_file(target) as out:
                    for chunk in response.iter_bytes():
                        out.write(chunk)
            return target
        except httpx2.TransportError as error:
            raise Unreachable(self.base_url, _reason(error)) from error

    def _connection(self, path: str, last: int) -> Iterator[StreamedEvent | None]:
        """Yield None once the server has answered, then the events as they come."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        timeout = httpx2.Timeout(10.0, read=STREAM_SILENCE_SECONDS)
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.is_error:
                response.read()
                _accepted(response)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise ApiProblem(_foreign(response))
            yield None
            for event in httpx2.EventSource(response):
                data = json.loads(event.data) if event.data else {}
                yield StreamedEvent(event.event, data, data.get("id"))


def read_model(kind: type[M], found: bytes | str | Document) -> M:
    """Return the model that a JSON document holds.

    Raises:
        ApiProblem: it does not: the server is of another version than this client.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(
            found if isinstance(found, bytes | str) else json.dumps(found)
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = "/".join(map(str, first["loc"]))
        raise ApiProblem(
            {
                "title": "The server speaks another version than this client",
                "detail": f"expected a {kind.__name__}, but at /{place}: {first['msg']}",
                "hint": "Install the version of `rewardsmith` that the server has.",
            }
        ) from error


def of_ours(found: Any, *parts: str) -> Document:
    """Return an answer that has the parts by which one of Rewardsmith's is known.

    Raises:
        ApiProblem: it has not: another program answered.
    """
    if not isinstance(found, dict) or not set(parts) <= set(found):
        wanted = ", ".join(f"`{part}`" for part in parts)
        raise ApiProblem({**_FOREIGN, "status": 200, "detail": f"expected an object with {wanted}"})
    return found


def _accepted(response: httpx2.Response) -> httpx2.Response:
    if response.is_success:
        return response
    problem = parsed(response)
    raise ApiProblem(problem if _is_problem(problem) else _foreign(response))


def parsed(response: httpx2.Response) -> Any:
    """Return the JSON of an answer; None where it is none."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _is_problem(found: Any) -> bool:
    """Tell whether a refusal is one of ours: other programs have the same form, filled otherwise."""
    if not isinstance(found, dict) or "title" not in found:
        return False
    places = found.get("errors", [])
    return (
        isinstance(found.get("status", 0), int)
        and isinstance(places, list)
        and all(
            isinstance(place, dict) and {"pointer", "message"} <= set(place) for place in places
        )
    )


_FOREIGN = {
    "title": "The server answered with something else than its API",
    "hint": "Check that REWARDSMITH_API_URL names a Rewardsmith server.",
}


def _foreign(response: httpx2.Response) -> Document:
    told = f"HTTP {response.status_code} from {response.request.url}"
    return {**_FOREIGN, "status": response.status_code, "detail": told}


def _passes(problem: ApiProblem) -> bool:
    """Tell whether a stream may be had again where it was refused, in a while."""
    return problem.status in RETRIED or problem.status == TOO_MANY


def _too_long(since: float) -> bool:
    return time.monotonic() - since > STREAM_PATIENCE_SECONDS


def _asked_pause(response: httpx2.Response, usual: float) -> float:
    """Return how long to wait: what Retry-After asks for, and a little more, not all the same.

    Those who were turned away together would otherwise all come back together.
    """
    asked = response.headers.get("retry-after", "")
    seconds = min(float(asked), LONGEST_PAUSE_SECONDS) if asked.isdecimal() else 0.0
    return max(usual, seconds) * random.uniform(1.0, 1.5)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
