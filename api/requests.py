"""How many requests one server answered, how, and in what time."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import Scope

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
OTHER = "other"  # what no route took, whatever paths and verbs strangers think of


class Requests:
    """Counts the requests of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ("method", "route", "status")
        # With several processes these numbers are kept in files, and told for all of them.
        self._count = Counter(
            "rewardsmith_requests", "Requests answered.", names, registry=self.registry
        )
        self._seconds = Histogram(
            "rewardsmith_request_seconds",
            "Time until the whole answer was sent; streams are left out.",
            ("method", "route"),
            registry=self.registry,
        )

    def text(self) -> bytes:
        """Return the numbers as a monitor reads them, those of all processes of the server together."""
        if _FOLDER not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def count(self, scope: Scope, status: int, seconds: float, *, streamed: bool) -> None:
        """Count a request that was answered."""
        route = getattr(scope.get("route"), "path", OTHER)
        method = scope["method"] if route != OTHER else OTHER
        self._count.labels(method, route, str(status)).inc()
        if not streamed:
            self._seconds.labels(method, route).observe(seconds)
