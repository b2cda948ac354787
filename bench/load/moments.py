"""Single moments: a cancelled child's death, a lost step's new owner, a locked child's start."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import psutil
import psycopg

from bench.load.house import House, open_house
from bench.load.phases import LONG_TRAINING, PATIENCE_SECONDS, is_training, jailed_below, wait_for
from bench.load.traffic import milliseconds
from bench.load.watching import load_average
from core.sandbox import GIB, Limits, Sandbox
from core.training.laboratory import PRELOAD

Json: TypeAlias = dict[str, Any]

SHORT_LEASE_SECONDS = 5.0
RECLAIM_SLACK_SECONDS = 5.0
JAIL_ENTRY = "bench.load.jailed:answer"
JAIL_LIMITS = Limits(wall_seconds=10, cpu_seconds=10, memory_bytes=GIB)
QUICK_JOB = {
    "task": "cartpole-park",
    **{"iterations": 3, "candidates": 4},
    "training": {"steps": 2_000, "seeds": 1},
    "evaluation": {"episodes": 3, "confirm_seeds": 2, "confirm_episodes": 3},
}
# These step an environment, or render one, for as long as they were asked to.
LIVES = ("preflight", "baseline", "train", "runoff", "confirm", "ablation", "transfer", "film")


def cancel(times: int) -> Json:
    """Cancel jobs while their children train; the time is from the request to the child's death."""
    chance = random.Random(1)
    with open_house() as house, house.client() as client:
        worker = house.start_worker("worker-0")
        assert worker.process is not None
        pid, seconds = worker.process.pid, list[float]()
        for number in range(times):
            job = client.post("/v1/jobs", json={**LONG_TRAINING, "seed": number}).json()["id"]
            wait_for(lambda: is_training(pid))
            time.sleep(chance.uniform(0.0, 1.0))  # anywhere between two looks at the database
            children = jailed_below(pid)
            begun = time.monotonic()
            client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
            wait_for(lambda children=children: not any(map(_lives, children)), every=0.002)
            seconds.append(time.monotonic() - begun)
            wait_for(lambda job=job: client.get(f"/v1/jobs/{job}").json()["status"] == "cancelled")
    return _told(seconds, 2_000)


def reclaim(times: int) -> Json:
    """Kill workers without a word while they train; the time is until another one owns the step."""
    with open_house() as house, house.client() as client:
        seconds, orphans = list[float](), 0
        # Slots to spare: whoever takes over must not have to end something else before.
        given = {"slots": 4, "lease_seconds": SHORT_LEASE_SECONDS}
        house.start_worker("worker-0", **given)
        for number in range(times):
            job = client.post("/v1/jobs", json={**LONG_TRAINING, "seed": number}).json()["id"]
            victim = house.workers[f"worker-{number}"].process
            assert victim is not None
            wait_for(lambda victim=victim: is_training(victim.pid))
            house.start_worker(f"worker-{number + 1}", **given)
            children, held = jailed_below(victim.pid), _claims(house, job, victim.pid)
            begun = time.monotonic()
            victim.kill()
            seconds += _taken_over(house, held, begun)
            orphans += sum(map(_lives, children))
            victim.wait()
            house.workers.pop(f"worker-{number}")
            client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    goal = 1e3 * (SHORT_LEASE_SECONDS + RECLAIM_SLACK_SECONDS)
    return {**_told(seconds, goal), "lease_seconds": SHORT_LEASE_SECONDS, "orphans": orphans}


Claimed: TypeAlias = tuple[str, str, int]
"""Job, step key and fence of a claim."""


def _claims(house: House, job: str, worker: int) -> set[Claimed]:
    """Return the steps of a job that a worker owns; its name holds the number of its process."""
    query = "SELECT job_id, step_key, fence FROM claims WHERE job_id = %s AND owner LIKE %s"
    with psycopg.connect(house.postgres.admin_url) as connection:
        return set(connection.execute(query, [job, f"%-{worker}-%"]))


def _taken_over(house: House, held: set[Claimed], begun: float) -> list[float]:
    """Wait until each step has another owner; return the seconds that each waited."""
    assert held, "the worker owned nothing when it was killed"
    query = "SELECT fence FROM claims WHERE job_id = %s AND step_key = %s AND owner IS NOT NULL"
    seconds, missing = list[float](), set(held)
    with psycopg.connect(house.postgres.admin_url, autocommit=True) as connection:

        def look() -> bool:
            for one in list(missing):
                job, key, fence = one
                found = connection.execute(query, [job, key]).fetchone()
                if found is not None and found[0] > fence:
                    missing.discard(one)
                    seconds.append(time.monotonic() - begun)
            return not missing

        wait_for(look, every=0.02)
    return seconds


def jail(times: int) -> Json:
    """Fork, lock and greet children of a warm zygote; the time is from the call to the first answer."""
    sandbox = Sandbox([*PRELOAD, "bench.load.jailed"])
    try:
        sandbox.ensure_started()
        level = sandbox.isolation.level
        seconds = [_spawned(sandbox) for _ in range(times + 3)][3:]
    finally:
        sandbox.close()
    return {**_told(seconds, 50), "isolation_level": level}


def _spawned(sandbox: Sandbox) -> float:
    begun = time.perf_counter()
    with sandbox.spawn(JAIL_ENTRY, JAIL_LIMITS) as child:
        child.receive(10)
        return time.perf_counter() - begun


def steps(times: int) -> Json:
    """Run small jobs to their end; the time is a worker's, from claim to release, by kind of step."""
    with open_house() as house, house.client() as client:
        house.start_worker("worker-0")
        jobs = [
            client.post("/v1/jobs", json={**QUICK_JOB, "seed": n}).json()["id"]
            for n in range(times)
        ]
        wait_for(
            lambda: all(map(_ended(client), jobs)),
            seconds=PATIENCE_SECONDS + 30.0 * times,
            every=0.5,
        )
        lines = (house.folder / "worker-0.log").read_text().splitlines()
    taken = defaultdict[str, list[float]](list)
    for line in filter(lambda line: '"step done"' in line, lines):
        told = json.loads(line)
        taken[told["step"].partition("/")[0]].append(told["seconds"])
    kinds = {
        kind: {**_told(seconds, None), "lives": kind in LIVES}
        for kind, seconds in sorted(taken.items())
    }
    light = [s for kind, seconds in taken.items() if kind not in LIVES for s in seconds]
    return {**_told(light, 100), "by_kind": kinds}


def _ended(client) -> Callable[[str], bool]:
    def ended(job: str) -> bool:
        return client.get(f"/v1/jobs/{job}").json()["status"] in ("succeeded", "failed")

    return ended


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _told(seconds: Sequence[float], goal_ms: float | None) -> Json:
    ordered = sorted(seconds)
    found = {
        "times": len(ordered),
        **{f"p{round(100 * q)}_ms": milliseconds(ordered, q) for q in (0.5, 0.99)},
        "max_ms": milliseconds(ordered, 1.0),
    }
    return found if goal_ms is None else {**found, "goal_ms": goal_ms}


MOMENTS: Mapping[str, tuple[Callable[[int], Json], int]] = {
    "cancel": (cancel, 25),
    "reclaim": (reclaim, 8),
    "jail": (jail, 400),
    "steps": (steps, 8),
}
"""What is measured, and how often."""


def measure(name: str, share: float = 1.0) -> Json:
    """Measure one of MOMENTS, so often or a share of that."""
    work, times = MOMENTS[name]
    before = load_average()
    return {"load_before": before, **work(max(2, round(times * share)))}
