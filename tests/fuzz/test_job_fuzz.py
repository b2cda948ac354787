"""Jobs of every shape that the door lets in come to an end, and all of them can be read then.

The generated requests of `test_api_fuzz.py` are answered; here they are carried out as well, by a real
server and its worker.  A step may not break, whatever it was asked.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter

import httpx2
import pytest

from tests.fuzz.long import LONG, keep_if_long
from tests.fuzz.shapes import a_request
from tests.stack import Stack, stack

COUNT = 150 if LONG else 5
SEED = 20_261_128

# A tiny job takes a quarter of a minute on two cores.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * 3_600 if LONG else 900)]


@pytest.fixture
def here(tmp_path):
    with stack(tmp_path / "home", jobs_per_owner="1000", requests_per_minute="1000000") as made:
        yield made


def submit(here: Stack, chance: random.Random, tally: Counter[str]) -> str:
    """Submit requests until one is accepted; return the job's id."""
    while True:
        answer = httpx2.post(f"{here.url}/v1/jobs", json=a_request(chance), timeout=20)
        assert answer.status_code in (202, 422), answer.text
        if answer.status_code == 202:
            return str(answer.json()["id"])
        tally["refused"] += 1


def reads(here: Stack) -> list[str]:
    """Return every path that shows something of a job, and of nothing else."""
    paths = here.get("/openapi.json")["paths"]
    return [path for path in paths if "get" in paths[path] and set(_names(path)) == {"job_id"}]


def _names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def ended_well(job: dict) -> bool:
    """Tell whether a job succeeded, or had no time for a first candidate, as its request wished."""
    return job["status"] == "succeeded" or job["failure"]["detail"].startswith("The budget (")


def test_jobs_of_every_shape_come_to_an_end(here: Stack):
    begun, chance, tally = time.monotonic(), random.Random(SEED), Counter[str]()
    here.serve("--workers", "1")
    ids = [submit(here, chance, tally) for _ in range(COUNT)]
    paths = reads(here)
    for job_id in ids:
        job = here.finished(job_id, seconds=3_000)
        tally[job["status"]] += 1
        assert ended_well(job), json.dumps(job)
        for path in paths:
            answer = httpx2.get(here.url + path.format(job_id=job_id), timeout=60)
            assert answer.status_code in (200, 404, 409), f"{path}: {answer.text}"
    log = (here.home / "serve-0.log").read_text()
    broken = [line for line in log.splitlines() if '"step failed"' in line]
    assert broken == []
    found = {
        "jobs": COUNT,
        "broken": len(broken),
        "seconds": round(time.monotonic() - begun),
        "endings": dict(tally),
    }
    keep_if_long("jobs", {"fuzz": "jobs", **found})
