"""Submissions and polls side by side, while workers train and while they have nothing to do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import psutil
import psycopg

from bench.load.house import House, children_of, open_house
from bench.load.watching import Cores, load_average
from bench.reliability.results import ROOT

Json: TypeAlias = dict[str, Any]

WARM_UP_SECONDS = 5.0
WORKERS = 2
PROCESSES = 2  # of the server: one for each core
LONG_TRAINING = {
    "task": "cartpole-park",
    **{"iterations": 1, "candidates": 2},
    "training": {"steps": 50_000_000, "seeds": 1},
    "name": "keeps a worker busy",
}
AT_WORK_SECONDS = 1.0  # of processor time, after which a child is training and not starting
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Phase:
    """One mix of requests, and what is wanted of it.

    Attributes:
        submissions, polls: a second, offered.
        p99_ms:  that no kind of request may exceed.
        prepare: brings the workers into the state that is asked for; returns (job, owner) that exist.
    """

    submissions: float
    polls: float
    p99_ms: float
    prepare: Callable[[House], Sequence[tuple[str, int]]]


def make_busy(house: House) -> list[tuple[str, int]]:
    """Start workers and have each of them train for longer than a phase lasts."""
    with house.client() as client:
        for number in range(WORKERS):
            house.start_worker(f"worker-{number}")
        jobs = [
            client.post("/v1/jobs", json={**LONG_TRAINING, "seed": n}).json()["id"]
            for n in range(WORKERS)
        ]
    wait_for(lambda: all(is_training(pid) for pid in house.worker_pids()))
    return [(job, 0) for job in jobs]


def make_idle(house: House) -> list[tuple[str, int]]:
    """Start workers that see to the queue and have nothing to do: whatever waits is for trainers."""
    for number in range(WORKERS):
        house.start_worker(f"worker-{number}", queues="design")
    return []


PHASES = {
    "busy": Phase(150, 300, 500, make_busy),
    "idle": Phase(300, 600, 200, make_idle),
}


def measure(name: str, seconds: float, seed: int = 1) -> Json:
    """Live through a phase on a new house and tell what was found.

    Args:
        name:    one of PHASES.
        seconds: in which requests are counted.
        seed:    of their arrivals.
    """
    phase = PHASES[name]
    with open_house(PROCESSES) as house:
        before = load_average()
        known = phase.prepare(house)
        found = send(house, phase, seconds, seed, known)
        accepted = [job for job, _ in found.pop("accepted")]
        return {
            "load_before": before,
            "goal": {
                "submissions": phase.submissions,
                "polls": phase.polls,
                "p99_ms": phase.p99_ms,
            },
            **found,
            **kept(house, accepted, len(known)),
            "errors": sum(sum(found[kind]["errors"].values()) for kind in ("submissions", "polls")),
        }


def send(
    house: House, phase: Phase, seconds: float, seed: int, known: Sequence[tuple[str, int]]
) -> Json:
    """Let the load come, and measure what everything uses meanwhile."""
    order = {
        **{"port": house.port, "keys": list(house.keys), "known": list(known), "seed": seed},
        **{"submissions": phase.submissions, "polls": phase.polls},
        **{"seconds": seconds, "warm_up": min(WARM_UP_SECONDS, seconds)},
    }
    command = [sys.executable, "-m", "bench.load.traffic"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as generator:
        cores = Cores({**house.trees(), "load": generator.pid})
        assert generator.stdin is not None
        assert generator.stdout is not None
        try:
            generator.stdin.write(json.dumps(order))
            generator.stdin.close()
            said = generator.stdout.read()
            used = cores.used()
        except BaseException:
            generator.kill()
            raise
    assert generator.returncode == 0, "the load ended badly"
    return {**json.loads(said), "cores": used}


def kept(house: House, accepted: Sequence[str], known: int) -> Json:
    """Compare what clients were promised with what is stored."""
    with psycopg.connect(house.postgres.admin_url) as connection:
        stored = dict(connection.execute("SELECT id, status FROM jobs").fetchall())
    return {
        "jobs": len(stored),
        "failed": sum(status == "failed" for status in stored.values()),
        "lost": len(set(accepted) - set(stored)),
        "unasked": len(stored) - known - len(set(accepted) & set(stored)),
    }


def is_training(worker: int) -> bool:
    """Tell whether a child of a worker has computed for a while."""
    return any(map(_has_computed, jailed_below(worker)))


def jailed_below(worker: int) -> list[psutil.Process]:
    """Return the children in which a worker runs steps: those of its zygote."""
    return [
        child for zygote in psutil.Process(worker).children() for child in children_of(zygote.pid)
    ]


def _has_computed(process: psutil.Process) -> bool:
    try:
        return process.cpu_times().user > AT_WORK_SECONDS
    except psutil.NoSuchProcess:
        return False


def wait_for(
    condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS, every: float = 0.05
) -> float:
    """Wait until something is so; return how many seconds that took.

    Raises:
        TimeoutError: it did not become so.
    """
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(every)
    return time.monotonic() - begun
