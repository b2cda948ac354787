"""One attempt to deliver a message: to a checked address, within one deadline, and nothing followed.

httpcore is spoken to directly, because there the part that connects can be exchanged: what was looked
at is what is connected to.  TLS still proves the name of the URL.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpcore2
import httpx2

from core.errors import InvalidInput, ResolverUnavailable
from core.webhooks.addresses import Target, addresses_of, is_allowed, read_target

TOTAL_SECONDS = 10.0
CONNECT_SECONDS = 3.0  # for an address that is not the last one
GONE = 410


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an attempt.

    Attributes:
        status:  of the answer; None if there was none.
        error:   why, in words of ours; "" if there was one.
        seconds: that it took.
        late:    that none had come when the time was over.
    """

    status: int | None
    error: str = ""
    seconds: float = 0.0
    late: bool = False

    @property
    def delivered(self) -> bool:
        """Tell whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def unwanted(self) -> bool:
        """Tell whether the receiver wants to hear no more of it."""
        return self.status == GONE


def send(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    allowed: Collection[str] = (),
    total_seconds: float = TOTAL_SECONDS,
) -> Sent:
    """Post a body and return the status of the answer; nothing of the answer's body is read.

    `allowed` are hosts that may be reached wherever they are (see `addresses`); `total_seconds` are for
    connecting, TLS, sending and the answer's head together.
    """
    began = time.monotonic()
    try:
        target = read_target(url, allowed)
        status = _post(target, headers, body, _Backend(allowed, began + total_seconds))
        return Sent(status, "", time.monotonic() - began)
    except (InvalidInput, ResolverUnavailable) as error:
        why = f"refused: {error.found}"
    except (httpcore2.TimeoutException, _Late):
        why = ""
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
        why = type(error).__name__
    seconds = time.monotonic() - began
    if why and seconds < total_seconds:
        return Sent(None, why, seconds)
    return Sent(None, f"no answer within {total_seconds:g} s", seconds, late=True)


def _post(target: Target, headers: Mapping[str, str], body: bytes, backend: _Backend) -> int:
    told = {
        **headers,
        "host": target.name,
        "content-type": "application/json",
        "user-agent": "rewardsmith-webhook",
        "connection": "close",
    }
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), backend.left())
    # From its parts, so that no other reader finds another host in the same text.
    url = httpcore2.URL(
        scheme=target.scheme, host=target.host, port=target.port, target=target.path
    )
    tls = httpx2.create_ssl_context() if target.scheme == "https" else None
    pool = httpcore2.ConnectionPool(ssl_context=tls, network_backend=backend)
    asked = pool.stream(
        "POST", url, headers=list(told.items()), content=body, extensions={"timeout": timeout}
    )
    try:
        with pool, asked as answer:
            return int(answer.status)
    finally:
        backend.close()


class _Late(Exception):
    """The deadline is over."""


@dataclass(slots=True)
class _Backend(httpcore2.NetworkBackend):
    """Connects to an address that was looked at, and hangs up at the deadline, whatever is going on."""

    allowed: Collection[str]
    until: float  # of `time.monotonic`
    _timers: list[threading.Timer] = field(default_factory=list)
    _sockets: list[socket.socket] = field(default_factory=list)

    def left(self) -> float:
        """Return how many seconds are left."""
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise _Late
        return seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to an address of a name, all of which are public, or to an allowed host."""
        known = is_allowed(host, port, self.allowed)
        *others, last = [host] if known else addresses_of(host, port)
        for address in others:
            with suppress(httpcore2.NetworkError, httpcore2.TimeoutException):
                return self._connect(address, port, min(CONNECT_SECONDS, self.left()))
        return self._connect(last, port, self.left())

    def _connect(self, address: str, port: int, seconds: float) -> httpcore2.NetworkStream:
        stream = httpcore2.SyncBackend().connect_tcp(address, port, seconds)
        self._hang_up_in_time(stream.get_extra_info("socket"))
        return stream

    def _hang_up_in_time(self, connection: socket.socket) -> None:
        """Shut the connection at the deadline: a receiver that drips would renew any timeout."""
        held = connection.dup()  # TLS takes the connection's own descriptor over
        timer = threading.Timer(self.left(), _shut, [held])
        timer.daemon = True
        self._sockets.append(held)
        self._timers.append(timer)
        timer.start()

    def close(self) -> None:
        """Give back what was held."""
        for timer in self._timers:
            timer.cancel()
            timer.join()
        for held in self._sockets:
            held.close()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it ended by itself
        connection.shutdown(socket.SHUT_RDWR)
