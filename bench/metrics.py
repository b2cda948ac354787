"""How long does a chart of a curve of a million points take, from the request to the last byte?

    python -m bench.metrics --points 1000000 --repeats 20

A job with one run is stored in a fresh SQLite file, and read through the whole application, in process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

import migrations
from api.main import create_app
from core.records.kinds import NATIVE
from core.records.measured import Curve, Run
from core.records.spec import Evaluation, JobSpec
from core.records.task import Fitness, Task
from core.settings import Settings
from core.storage import Store, open_store

LOCAL = "http://127.0.0.1:8700"
TASK = Task("point", "CartPole-v1", "Stay.", Fitness("return"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--max-points", type=int, default=500)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        migrations.upgrade(url)
        store = open_store(url)
        values = noisy(asked.points)
        run_id = stored(store, values)
        app = create_app(
            Settings(home=Path(folder), database_url=url), lambda *_: None, keyless=True
        )
        with TestClient(app, base_url=LOCAL) as client:
            seconds, worked = timed(client, run_id, asked.max_points, asked.repeats)
            shown = read(client, run_id, asked.max_points)
        store.close()
    peaks = (max(shown), min(shown)) == (values.max(), values.min())
    told = {
        "points": asked.points,
        "max_points": asked.max_points,
        "shown": len(shown),
        "keeps_extremes": bool(peaks),
        "median_ms": round(1000 * statistics.median(seconds), 1),
        "slowest_ms": round(1000 * max(seconds), 1),
        "median_processor_ms": round(1000 * statistics.median(worked), 1),
        "repeats": asked.repeats,
    }
    print(json.dumps(told))


def noisy(points: int) -> np.ndarray:
    """A learning curve with noise, and a peak and a pit that only one point shows."""
    steps = np.arange(points)
    values = 100 * (1 - np.exp(-steps / (points / 5))) + np.random.default_rng(0).normal(
        size=points
    )
    values[points // 3], values[points // 2] = 400.0, -300.0
    return values


def stored(store: Store, values: np.ndarray) -> str:
    """Store a job with one run of the native reward, and return the run's id."""
    spec = JobSpec(TASK, evaluation=Evaluation())
    job, _ = store.create_job(
        spec, idempotency_key=None, body_sha256="0" * 64, name=None, labels={}
    )
    steps = tuple(range(0, 8 * len(values), 8))
    run = Run("baseline", NATIVE, 0, 0, "scored", fitness=1.0)
    claim = store.claim(job.id, "baseline", "bench", 60.0)
    assert claim is not None
    with claim:
        claim.add_runs([replace(run, curve=Curve(steps, {"return": tuple(values.tolist())}))], {})
    return f"run_{job.id.removeprefix('job_')}_baseline_native_0_0"


def timed(
    client: TestClient, run_id: str, most: int, repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds on the clock, and seconds of processor time, of each request."""
    read(client, run_id, most)  # the first request opens the database
    seconds, worked = [], []
    for _ in range(repeats):
        began, busy = time.perf_counter(), time.process_time()
        read(client, run_id, most)
        seconds.append(time.perf_counter() - began)
        worked.append(time.process_time() - busy)
    return seconds, worked


def read(client: TestClient, run_id: str, most: int) -> list[float]:
    answer = client.get(f"/v1/runs/{run_id}/metrics", params={"max_points": most})
    assert answer.status_code == 200, answer.text
    return answer.json()["series"]["return"]["values"]


if __name__ == "__main__":
    main()
