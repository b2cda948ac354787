"""How many requests one server answered, how, and in what time."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import Scope

OTHER = "other"  # what no route took, whatever paths and verbs strangers think of


class Requests:
    """Counts the requests of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ("method", "route", "status")
        self._count = Counter(
            "rewardsmith_requests", "Requests answered.", names, registry=self.registry
        )
        self._seconds = Histogram(
            "rewardsmith_request_seconds",
            "Time until the whole answer was sent; streams are left out.",
            ("method", "route"),
            registry=self.registry,
        )

    def count(self, scope: Scope, status: int, seconds: float, *, streamed: bool) -> None:
        """Count a request that was answered."""
        route = getattr(scope.get("route"), "path", OTHER)
        method = scope["method"] if route != OTHER else OTHER
        self._count.labels(method, route, str(status)).inc()
        if not streamed:
            self._seconds.labels(method, route).observe(seconds)
