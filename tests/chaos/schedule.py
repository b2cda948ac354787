"""What happens when: a list of faults, drawn by a seed and nothing else."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.failpoints import FAILPOINTS

AT_WORKERS = tuple(name for name in FAILPOINTS if not name.startswith("job."))
STOPS = ("step.claimed", "ask.answered", "ask.stored", "artifact.stored", "fact.written")
"""Where a stop holds no lock of the database."""
AT_SERVERS = tuple(name for name in FAILPOINTS if name.startswith("job."))


@dataclass(frozen=True)
class Plan:
    """How much of what; the same plan and seed make the same schedule.

    Attributes:
        seconds:       over which the faults are spread.
        jobs:          that are submitted meanwhile.
        workers:       processes, with `slots` steps at a time each.
        faults:        kind -> how often.
        armed:         share of workers that start with a failpoint armed, at which they die.
        stopped:       the same for one at which they stop, for longer than their lease.
        slow:          share of trainings that take longer than a lease.
        shifted:       share of workers whose own clock jumps by two hours.
        cancelled:     share of jobs that are cancelled.
        misbehaviour:  share of the endpoint's answers that are faults.
        settle_seconds: within which everything must have come to rest afterwards.
        least_kills:   of workers, whether or not the schedule met them alive.
        points, stops: that workers may be told to die and to stop at.
        server_points: that servers may be told to die at.
        server_armed:  share of servers that start with a failpoint armed.
        openai:        share of jobs that ask the endpoint.
    """

    seed: int
    seconds: float
    jobs: int
    faults: Mapping[str, int]
    workers: int = 4
    slots: int = 2
    armed: float = 0.65
    stopped: float = 0.15
    slow: float = 0.1
    shifted: float = 0.2
    cancelled: float = 0.08
    misbehaviour: float = 0.3
    settle_seconds: float = 120.0
    least_kills: int = 0
    points: tuple[str, ...] = AT_WORKERS
    stops: tuple[str, ...] = STOPS
    server_points: tuple[str, ...] = AT_SERVERS
    server_armed: float = 0.5
    openai: float = 0.6


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that happens, to one of several victims, for some seconds."""

    at: float
    kind: str
    victim: int = 0
    seconds: float = 0.0


LASTS: Mapping[str, tuple[float, float]] = {
    "kill a worker": (0.0, 0.0),
    "stop a worker": (0.0, 0.0),
    "kill the server": (0.0, 0.0),
    "kill PostgreSQL": (0.0, 1.5),
    "kill the broker": (0.0, 4.0),
    "flush the broker": (0.0, 0.0),
    "partition": (1.2, 2.5),  # in leases, like the next
    "pause a worker": (1.2, 2.2),
    "fill the disk": (1.0, 2.5),
    "take no writes": (0.5, 2.0),
    "take the endpoint down": (2.0, 5.0),
}


def draw(plan: Plan) -> list[Fault]:
    """Spread every kind evenly over the time, with chance inside each part."""
    chance = random.Random(plan.seed)
    found = []
    for kind, count in sorted(plan.faults.items()):
        part = (plan.seconds - 2.0) / max(count, 1)
        for number in range(count):
            at = 1.0 + part * (number + chance.random())
            found.append(
                Fault(at, kind, chance.randrange(plan.workers), chance.uniform(*LASTS[kind]))
            )
    return sorted(found)


@dataclass
class Lots:
    """Chances that are drawn on the way, each kind from a stream of its own."""

    seed: int
    _streams: dict[str, random.Random] = field(default_factory=dict)

    def of(self, name: str) -> random.Random:
        return self._streams.setdefault(name, random.Random(f"{self.seed} {name}"))

    def failpoint(
        self,
        name: str,
        points: tuple[str, ...],
        armed: float,
        stops: tuple[str, ...] = STOPS,
        stopped: float = 0.0,
    ) -> str | None:
        """Return what a process is told to die or stop at; None for one that is told nothing."""
        chance = self.of(name)
        point, stop = chance.choice(points), chance.choice(stops)
        count, drawn = chance.choice((1, 1, 2, 2, 3)), chance.random()
        if drawn < armed:
            return f"{point}:{count}"
        return f"{stop}:{count}:stop" if drawn < armed + stopped else None
