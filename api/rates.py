"""How often somebody may ask: a bucket of tokens for each name, filled again at a steady rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MOST_NAMES = 10_000  # beyond which full buckets, which nobody misses, are thrown away


class Rates:
    """So many requests a minute for each name; all of them, or `at_once`, may come at once.

    Kept in this process alone: behind several servers, each allows as many.
    """

    def __init__(
        self,
        per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        at_once: int | None = None,
    ) -> None:
        self._most = float(per_minute if at_once is None else at_once)
        self._per_second = per_minute / 60.0
        self._clock = clock
        self._buckets: dict[
            str, tuple[float, float]
        ] = {}  # name -> (tokens, when they were counted)
        self._lock = threading.Lock()

    def take(self, name: str) -> float:
        """Take a token; return 0.0, or how many seconds there will be none yet."""
        with self._lock:
            tokens = self._tokens(name)
            if tokens >= 1.0:
                self._put(name, tokens - 1.0)
                return 0.0
            return (1.0 - tokens) / self._per_second

    def empty(self, name: str) -> float:
        """Return what `take` would, and take nothing."""
        with self._lock:
            return max(0.0, (1.0 - self._tokens(name)) / self._per_second)

    def _tokens(self, name: str) -> float:
        tokens, counted_at = self._buckets.get(name, (self._most, self._clock()))
        return min(self._most, tokens + (self._clock() - counted_at) * self._per_second)

    def _put(self, name: str, tokens: float) -> None:
        if len(self._buckets) >= MOST_NAMES and name not in self._buckets:
            self._buckets = {
                known: bucket
                for known, bucket in self._buckets.items()
                if self._tokens(known) < self._most
            }
        self._buckets[name] = (tokens, self._clock())
