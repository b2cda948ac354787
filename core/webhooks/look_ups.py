"""Names looked up beside the threads that answer requests, a few of each owner's at a time.

A name server may take as long as it likes, and whoever chooses a name may have chosen its server too.
A look-up that has begun cannot be stopped; so nobody has more than a few of them, and what has not
begun when its time is over leaves the line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from typing import TypeAlias

from core.errors import LimitReached, ResolverUnavailable

PATIENCE_SECONDS = 3.0
AT_ONCE = 16
MOST_OF_ONE = 4

Asked: TypeAlias = tuple[str, str, int]  # owner, host, port
Found: TypeAlias = list[str]


class LookUps:
    """Look-ups under way; who asks for what is being looked up already waits for the same answer."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="resolve")
        self._under_way: dict[Asked, Future[Found]] = {}
        self._lock = threading.Lock()

    def ask(self, asked: Asked, look_up: Callable[[], Found]) -> Found:
        """Return what a look-up finds.

        Raises:
            ResolverUnavailable: it took too long.
            LimitReached: the owner has too many under way.
            Exception: whatever the look-up raises.
        """
        found = self._begun(asked, look_up)
        try:
            return found.result(PATIENCE_SECONDS)
        except (TooSlow, CancelledError) as error:
            found.cancel()
            raise ResolverUnavailable(
                "a name that is not resolved in time",
                expected=f"an answer within {PATIENCE_SECONDS:g} s",
                where="url of the webhook",
                hint="Try again in a moment.",
            ) from error

    def _begun(self, asked: Asked, look_up: Callable[[], Found]) -> Future[Found]:
        with self._lock:
            self._under_way = {key: one for key, one in self._under_way.items() if not one.done()}
            if asked not in self._under_way:
                self._check_room(asked[0])
                self._under_way[asked] = self._pool.submit(look_up)
            return self._under_way[asked]

    def _check_room(self, owner: str) -> None:
        if sum(key[0] == owner for key in self._under_way) >= MOST_OF_ONE:
            raise LimitReached(
                f"{MOST_OF_ONE} names that are being looked up",
                expected=f"fewer than {MOST_OF_ONE}",
                where="webhooks of one owner",
                hint="Try again in a moment, or use a host whose name servers answer soon.",
            )
