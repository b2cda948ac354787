"""Whose turn it is: owners one after another, each with a few messages under way at most."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Collection


class Turns:
    """The line of those who have something to send; any thread may ask.

    Whoever had a turn goes to the end, so that a long backlog delays others by one message a turn.
    """

    def __init__(self, most_of_one: int) -> None:
        self._most_of_one = most_of_one
        self._line: deque[str] = deque()
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    def renew(self, owners: Collection[str]) -> None:
        """Note who has something to send now; those who were in line before keep their places."""
        with self._lock:
            staying = [owner for owner in self._line if owner in owners]
            self._line = deque([*staying, *(owner for owner in owners if owner not in staying)])

    def begin(self) -> str | None:
        """Return whose message is to be sent next; None while there is nobody who may."""
        with self._lock:
            for owner in self._line:
                if self._under_way[owner] < self._most_of_one:
                    break
            else:
                return None
            self._line.remove(owner)
            self._line.append(owner)
            self._under_way[owner] += 1
            return owner

    def end(self, owner: str, *, more: bool) -> None:
        """Note that a turn is over; without `more`, the owner leaves the line until it is renewed."""
        with self._lock:
            self._under_way[owner] -= 1
            if not self._under_way[owner]:
                del self._under_way[owner]
            if not more and owner in self._line:
                self._line.remove(owner)
