"""A connection to the server: how long it may take to say what it wants, and to take what it is told.

Of a body the API itself says how large it may be and how long it may take (`api/arriving.py`).
What stands around it, the headers before all, is read below the API, and so is bounded here, as are
clients that do not read their answers.
"""

from __future__ import annotations

import asyncio
from array import array
from fcntl import ioctl
from termios import TIOCOUTQ

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api import kinds
from api.errors import MEDIA_TYPE, problem
from api.kinds import Kind

MOST_HEAD = 1 << 16  # bytes on end that are no body: headers, trailers, sizes of chunks
HEAD_SECONDS = 20.0  # longer than an idle connection is kept
STALLED_SECONDS = 30.0


class Connection(HttpToolsProtocol):
    """Reads requests as uvicorn does, and ends a connection that leads to none or stands still."""

    _no_body: int = 0  # bytes on end
    _late: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        for timer in (self._late, self._stalled):
            if timer is not None:
                timer.cancel()

    # --- what the client sends --------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read on, up to the bound; a body, or the end of a request, begins the count again."""
        while data and not self.transport.is_closing():
            piece, data = data[: MOST_HEAD - self._no_body], data[MOST_HEAD - self._no_body :]
            self._no_body += len(piece)
            super().data_received(piece)
            if self._no_body >= MOST_HEAD:
                found = f"expected at most {MOST_HEAD} bytes of headers"
                self._turn_away(kinds.HEADERS_TOO_LARGE, found)
        if self._late is None and self._is_unasked():
            self._await_request()

    def on_headers_complete(self) -> None:
        """Wait no longer: there is a request."""
        super().on_headers_complete()
        self._no_body = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def on_body(self, body: bytes) -> None:
        """Count anew."""
        self._no_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count anew."""
        self._no_body = 0
        super().on_message_complete()

    def _is_unasked(self) -> bool:
        """Tell whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _await_request(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        if self._no_body:
            self._turn_away(kinds.TOO_SLOW, f"expected all headers within {HEAD_SECONDS:g} s")
        else:
            self.transport.close()

    def _turn_away(self, kind: Kind, detail: str) -> None:
        """Refuse what is no request yet, unless another one's answer is still being written."""
        if self._is_unasked() and not self.transport.is_closing():
            told = problem(kind, detail).model_dump_json().encode()
            head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(told)}\r\n"
            head += "connection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[kind.status] + head.encode() + told)
        self.logger.info("turned away %s: %s", self.client, detail)
        self.transport.close()

    # --- what the client is sent ------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Look after a while whether the client has read anything."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Look no longer."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def on_response_complete(self) -> None:
        """Look after a while whether the client has read the end of an answer."""
        super().on_response_complete()
        if self._unread():
            self._watch_writing()

    def _watch_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self._check_writing, self._unread())

    def _check_writing(self, left_before: int) -> None:
        self._stalled = None
        left = self._unread()
        if left >= left_before:
            self.logger.info("cut off %s, who has read nothing", self.client)
            self.transport.abort()
        elif left:
            self._watch_writing()

    def _unread(self) -> int:
        """Return how many bytes the client has not taken yet, those that the system keeps included.

        The system asks for more only after megabytes: a slow reader is seen by what it keeps alone.
        """
        kept = array("i", [0])
        try:
            ioctl(self.transport.get_extra_info("socket").fileno(), TIOCOUTQ, kept)
        except OSError:
            kept[0] = 0  # it is closed, or of a kind that does not tell
        return self.transport.get_write_buffer_size() + kept[0]
