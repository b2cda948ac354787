"""An endpoint for chat completions that answers programs, and misbehaves in every way we know of."""

from __future__ import annotations

import gzip
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROGRAM = """An upright pole is a small angle.

Prediction: `upright` rises.

```python
import numpy as np

PARAMS = {{"upright": {weight}}}


def reward(obs, action, next_obs, params):
    return {{"upright": params.upright * np.exp(-np.square({scale} * next_obs.pole_angle))}}
```
"""
TOKENS = (900, 300)  # of a usual answer: fewer than are set aside for it
DEAR = (900, 12_100)  # of a dear one, which uses most budgets up at once


def answer(
    text: object,
    finish: str = "stop",
    usage: bool = True,
    tokens: tuple[int, int] = TOKENS,
    **message: object,
) -> bytes:
    body: dict[str, object] = {
        "id": "c1",
        "model": "pretend-1",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
    }
    if usage:
        body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return json.dumps(body).encode()


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        act = self.server.next(body, key)
        with suppress(BrokenPipeError, ConnectionResetError):  # the client had enough
            act(self)
        self.close_connection = True

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, chunk: bytes, pause: float) -> None:
        """Send without end, until the client goes or the provider closes."""
        self.send_response(200)
        self.end_headers()
        while not self.server.closing.wait(pause):
            self.wfile.write(chunk)
            self.wfile.flush()

    def reset(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.connection.close()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: object) -> None: ...


Act = Callable[[Handler], None]


def _send(status: int, body: bytes = b"", **headers: str) -> Act:
    return lambda handler: handler.reply(status, body, **headers)


def _error(code: str) -> bytes:
    return json.dumps({"error": {"message": f"it says {code}", "code": code}}).encode()


GOOD = PROGRAM.format(weight=1.0, scale=9.0)
FAULTS: dict[str, Act] = {
    "429": _send(429, _error("rate_limit")),
    "429, come back soon": _send(429, _error("rate_limit"), Retry_After="1"),
    "429, come back later": _send(429, _error("rate_limit"), Retry_After="3"),
    "500": _send(500, b"oops"),
    "504": _send(504, b"upstream request timeout"),
    "529": _send(529, _error("overloaded")),
    "401": _send(401, _error("invalid_api_key")),
    "reset in the middle": Handler.reset,
    "drip": lambda handler: handler.stream(b" ", 0.1),
    "silence": lambda handler: handler.server.closing.wait(30),  # type: ignore[dict-item]
    "flood": lambda handler: handler.stream(b"x" * 1_000_000, 0.0),
    "gzip bomb": _send(200, gzip.compress(b" " * 50_000_000), Content_Encoding="gzip"),
    "empty": _send(200, answer("")),
    "cut off": _send(200, answer("```python\ndef rew", finish="length")),
    "garbage": _send(200, b"<html>maintenance</html>"),
    "wrong JSON": _send(200, b'{"choices": [{"message": "hello"}]}'),
    "refusal": _send(200, answer(None, refusal="I will not.")),
    "two programs": _send(200, answer(GOOD + GOOD)),
    "no code": _send(200, answer("I would pay for an upright pole.")),
    "no usage": _send(200, answer(GOOD, usage=False)),
    "bad characters": _send(200, answer("nul \x00 and half \ud800 a pair " + GOOD)),
    "NaN": _send(200, b'{"choices": NaN, "usage": {"prompt_tokens": 1e999}}'),
}
BILLED = ("good", "empty", "cut off", "refusal", "two programs", "no code", "bad characters")


class Provider(ThreadingHTTPServer):
    """Serves from a thread; a share of its answers are faults or dear, drawn by a seed.

    Attributes:
        leaks: bodies in which a secret was seen that only the header may carry.
        down:  set while it serves nothing but errors.
    """

    daemon_threads = True

    def __init__(self, seed: int, share: float, secrets: tuple[str, ...]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.served: Counter[str] = Counter()
        self.leaks: list[str] = []
        self.down, self.closing = threading.Event(), threading.Event()
        self._share, self._secrets = share, secrets
        self._chance, self._lock = random.Random(seed), threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1})

    @property
    def answered(self) -> int:
        """Tokens of the answers that were given in full and told what they cost."""
        usual = sum(TOKENS) * sum(self.served[name] for name in BILLED)
        return usual + sum(DEAR) * self.served["dear"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> Provider:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def heal(self) -> None:
        """Answer soundly from now on, so that what waits can end."""
        self.down.clear()
        self._share = 0.0

    def next(self, body: bytes, key: str) -> Act:
        """Say what to do with the next request."""
        text = body.decode()
        with self._lock:
            self.leaks += [secret[:6] for secret in self._secrets if secret in text]
            if self.down.is_set():
                self.served["outage"] += 1
                return _send(503, b"down")
            if self._chance.random() < self._share:
                name = self._chance.choice(list(FAULTS))
                self.served[name] += 1
                return FAULTS[name]
            dear = self._chance.random() < self._share / 3
            self.served["dear" if dear else "good"] += 1
            number = sum(self.served.values())
            weight, scale = round(0.5 + self._chance.random(), 4), 1 + number
            words = PROGRAM.format(weight=weight, scale=f"{scale}.0")
            return _send(200, answer(words, tokens=DEAR if dear else TOKENS))
