"""What a monitor reads: requests of this server, and whether work is moving.

    rewardsmith_work_moving     1 if no job waits for workers, or one has shown a sign of life lately;
                                a job that rests waits for nobody

Numbers of jobs are those of all owners together, through a view that shows nothing else of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily

from api import openapi
from api.dependencies import Building, Known
from api.gate import Room
from core.storage import Standing

router = APIRouter(tags=["health"])

LATELY_SECONDS = 60.0


class _Work:
    """Collects the standing of all jobs as it was read just now."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        jobs = GaugeMetricFamily("rewardsmith_jobs", "Jobs by status.", labels=["status"])
        for status, number in self._standing.jobs.items():
            jobs.add_metric([status], number)
        yield jobs
        known = {
            "steps_claimed": ("Steps that a living worker has in hand.", self._standing.claimed),
            "jobs_resting": (
                "Open jobs on which nobody is to work before a moment that is noted.",
                self._standing.resting,
            ),
            "queued_seconds": (
                "How long the oldest queued job has waited.",
                self._standing.oldest_queued_seconds,
            ),
            "sign_of_life_seconds": (
                "Since a worker claimed a step or said how far it is.",
                self._standing.sign_of_life_seconds,
            ),
            "work_moving": (
                "1 if no job waits for workers, or one has shown a sign of life lately.",
                float(is_moving(self._standing)),
            ),
        }
        for name, (words, value) in known.items():
            if value is not None:
                yield GaugeMetricFamily(f"rewardsmith_{name}", words, value=value)


class _Crowd:
    """Collects how many requests there are at this moment."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        room = self._room
        words = "Requests that this process works on now."
        yield GaugeMetricFamily("rewardsmith_requests_at_work", words, value=room.at_work)
        words = "Requests that wait for this process now."
        yield GaugeMetricFamily("rewardsmith_requests_waiting", words, value=room.waiting)


def is_moving(standing: Standing) -> bool:
    """Tell whether workers do what there is to do; a job may wait a moment before it is taken up."""
    if not standing.awake:
        return True
    seen, waited = standing.sign_of_life_seconds, standing.oldest_queued_seconds or 0.0
    if seen is not None and seen < LATELY_SECONDS:
        return True
    return standing.awake == standing.jobs.get("queued", 0) and waited < LATELY_SECONDS


@router.get(
    "/metrics",
    operation_id="read_metrics",
    summary="Read numbers for a monitor",
    response_class=openapi.MetricsResponse,
    responses=openapi.AT_THE_DOOR | openapi.METRICS,
)
def read_metrics(caller: Known, here: Building, request: Request) -> Response:
    """Return requests, jobs and signs of life in the text format of Prometheus.

    A key needs the scope `metrics:read`.
    """
    caller.need("metrics:read")
    registry = CollectorRegistry()
    registry.register(_Work(here.store.standing()))
    registry.register(_Crowd(request.app.state.room))
    text = generate_latest(registry) + here.requests.text()
    return openapi.MetricsResponse(text)
