"""What a watcher knows of a job, put together from the events and kept without any screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from client.transport import Document, StreamedEvent

TRAINING_STEPS = ("train", "baseline", "fitnessalone", "runoff", "confirm", "transfer", "ablate")
RECENT = 6


@dataclass(slots=True)
class Tally:
    """The job, the steps under way with their speed, and the last few messages."""

    job: Document
    activity: Sequence[Document] = ()
    status: str = ""  # by the latest progress
    waiting: bool = False  # for a worker, and longer than usual
    obstacle: str = ""  # why the job rests until people have mended something
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT))
    _seen: dict[str, tuple[float, int]] = field(default_factory=dict)
    _speeds: dict[str, float] = field(default_factory=dict)

    def take(self, event: StreamedEvent, now: float) -> None:
        """Learn from an event that arrived at `now` (seconds of any steady clock)."""
        if event.kind == "progress":
            self.activity = event.data["activity"]
            self.status, self.waiting = event.data["status"], bool(event.data.get("waiting"))
            self._measure(now)
        elif event.seq is not None:
            self.recent.append(line_of(event))
            self._note_obstacle(event)

    def _note_obstacle(self, event: StreamedEvent) -> None:
        if event.kind == "job.blocked":
            self.obstacle = str(event.data.get("message", ""))
        elif event.kind == "job.resumed":
            self.obstacle = ""

    def _measure(self, now: float) -> None:
        for item in self.activity:
            step, done = str(item["step"]), int(item["done"])
            began, start = self._seen.setdefault(step, (now, done))
            if done < start or (now - began > 10.0 and step in self._speeds):
                self._seen[step] = (now, done)  # measure afresh, so that the speed is today's
            elif done > start and now > began:
                self._speeds[step] = (done - start) / (now - began)

    def speed(self, step: str) -> float | None:
        """Return environment steps per second of a training step, None if not known yet."""
        trains = step.partition("/")[0] in TRAINING_STEPS
        return self._speeds.get(step) if trains else None

    def seconds_left(self) -> float | None:
        """Estimate from the speed so far; None before anything was trained."""
        under_way = sum(int(i["done"]) for i in self.activity if self.speed(i["step"]) is not None)
        used = self.job["spent"]["env_steps"] + under_way
        elapsed = self.job["spent"]["seconds"]
        planned = self.job["estimate"]["env_steps"]
        if used <= 0 or elapsed <= 0:
            return None
        return float(max(0.0, elapsed * (planned - used) / used))


def line_of(event: StreamedEvent) -> str:
    """Write an event as one line."""
    data: Mapping[str, Any] = event.data
    clock = str(data.get("created_at", ""))[11:19]
    return f"{clock} {data.get('message') or event.kind}".strip()
