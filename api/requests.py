"""How many requests one server answered, how, and in what time."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import Scope

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
OTHER = "other"  # what no route took, whatever paths and verbs strangers think of
API = "/v1"  # below which the API's routes are, beside the pages' of the same names
VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


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
        route = route_of(scope) or OTHER
        # A route is found for every verb; those that it does not take are refused there.
        method = scope["method"] if route != OTHER and scope["method"] in VERBS else OTHER
        self._count.labels(method, route, str(status)).inc()
        if not streamed:
            self._seconds.labels(method, route).observe(seconds)


def route_of(scope: Scope) -> str | None:
    """Return the path of the route that took a request; None where none did.

    FastAPI tells a route as its own router knows it, without what stands before all of these.
    """
    path: str | None = getattr(scope.get("route"), "path", None)
    return f"{API}{path}" if path is not None and scope["path"].startswith(f"{API}/") else path
