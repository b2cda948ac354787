"""How long the page of a job of 500 candidates takes, and how much of it goes over the wire.

    python -m bench.pages [--candidates 500] [--repeat 30] [--json docs/results/pages.json]

The server runs as a process on a SQLite file, and is asked over HTTP by one client.  Processor time is
that which the server's process spent on a page, whatever else the machine does; the time until the
whole answer is there is told as well.  Weight is what a first visit loads: the page and every style,
script and picture that it names, packed as it is sent.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import psutil

import migrations
from core.records.kinds import NATIVE
from core.records.rounds import Feedback
from core.storage import Store, open_store
from tests.builders import a_preflight, a_run, a_spec, rejected, trained
from tests.shells.stories import a_report, step
from tests.stack import Stack, stack

ROUND = 25
MOST_SECONDS, MOST_BYTES = 0.150, 100_000
START, END = "<!-- weight -->\n", "<!-- /weight -->\n"
TABLE = """\
## Time and weight

`python -m bench.pages --json docs/results/pages.json`: a job of {candidates} candidates in SQLite,
asked for over HTTP by one client; {today}, {machine}, load average {load:.1f}.
Bounds: 150 ms of the server, 100 kB (packed) on a first visit.

| page | server's processor time | until it is there | 95th percentile | page | first visit loads |
|---|---:|---:|---:|---:|---:|
"""
LOADED = re.compile(r'(?:<script src|<link rel="(?:stylesheet|icon)" href|<img src)="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Figure:
    """One page.

    Attributes:
        processor:     seconds that the server's process computes for it, the mean of all.
        median, worst: seconds until it is there, median and 95th percentile.
        page_bytes, first_load_bytes: packed, of the page and of all that a first visit loads.
    """

    page: str
    processor: float
    median: float
    worst: float
    page_bytes: int
    first_load_bytes: int


def main() -> None:
    """Measure, print, and write the figures down; fail where a bound is broken."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        url = f"sqlite:///{home / 'rewardsmith.db'}"
        migrations.upgrade(url)
        store = open_store(url)
        job_id = a_large_job(store, options.candidates)
        store.close()
        with stack(home, database_url=url) as running:
            running.serve("--workers", "0")
            figures = [
                measured(running, name, path, options.repeat)
                for name, path in pages_of(job_id).items()
            ]
    for figure in figures:
        own, wall, worst = (1e3 * s for s in (figure.processor, figure.median, figure.worst))
        times = f"{own:6.1f} ms of processor, {wall:6.1f} ms, p95 {worst:6.1f} ms"
        sizes = (
            f"page {figure.page_bytes / 1e3:.1f} kB  first {figure.first_load_bytes / 1e3:.1f} kB"
        )
        print(f"{figure.page:10}  {times}  {sizes}")
    if options.json:
        _keep(options.json, options.candidates, figures)
    broken = [f for f in figures if f.processor > MOST_SECONDS or f.first_load_bytes > MOST_BYTES]
    sys.exit(f"over the bounds: {[f.page for f in broken]}" if broken else 0)


def pages_of(job_id: str) -> dict[str, str]:
    """Return the pages that are looked at."""
    return {
        "job": f"/jobs/{job_id}",
        "jobs": "/jobs",
        "candidate": f"/candidates/cand_{job_id.removeprefix('job_')}_0_0",
        "new job": "/jobs/new",
        "compare": f"/compare?c=cand_{job_id[4:]}_0_0&c=cand_{job_id[4:]}_0_1",
    }


def a_large_job(store: Store, candidates: int) -> str:
    """Store a job of many candidates, one in ten of them rejected, each with a report."""
    rounds = -(-candidates // ROUND)
    spec = a_spec(iterations=rounds, candidates=ROUND)
    job, _ = store.create_job(
        spec, idempotency_key=None, body_sha256="0" * 64, name="large", labels={}
    )
    with step(store, job.id, "preflight") as claim:
        claim.add_preflight(a_preflight())
    with step(store, job.id, "baseline") as claim:
        claim.add_runs([a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in (0, 1)], {})
    for number in range(rounds):
        _a_round(store, job.id, number)
    return job.id


def _a_round(store: Store, job_id: str, iteration: int) -> None:
    good = [n for n in range(ROUND) if n % 10 != 9]
    with step(store, job_id, f"propose/{iteration}") as claim:
        for n in range(ROUND):
            why = "line 12: expected a dict of named components, but found a float"
            if n in good:
                claim.add_candidate(trained(n, iteration=iteration))
            else:
                claim.add_candidate(rejected(n, why, iteration=iteration))
        claim.end_proposing(iteration)
    with step(store, job_id, f"train/{iteration}/0/0") as claim:
        runs = [
            a_run(f"{iteration}.{n}", _fitness(iteration, n, seed), seed=seed)
            for n in good
            for seed in (0, 1)
        ]
        keys = [f"{iteration}.{n}" for n in good]
        claim.add_runs(runs, {key: a_report() for key in keys})
    with step(store, job_id, f"reflect/{iteration}") as claim:
        words = "DOMINANT: component `near` is 92 % of all that is paid. Weaken it."
        claim.add_feedback(Feedback(iteration, words * 40, f"{iteration}.0", (words, words)))


def _fitness(iteration: int, number: int, seed: int) -> float:
    return 0.1 + 0.04 * iteration + 0.013 * (number * 7 % 11) + 0.01 * seed


def measured(running: Stack, name: str, path: str, repeat: int) -> Figure:
    """Ask for a page again and again."""
    with httpx2.Client(base_url=running.url, headers={"Accept-Encoding": "gzip"}) as client:
        client.get(path).raise_for_status()
        before = _computed(running)
        seconds = sorted(_timed(client, path) for _ in range(repeat))
        processor = (_computed(running) - before) / repeat
        size, text = _weighed(client, path)
        loaded = [urljoin(path, found) for found in dict.fromkeys(LOADED.findall(text))]
        rest = sum(_weighed(client, one)[0] for one in loaded)
    worst = seconds[int(0.95 * repeat)]
    return Figure(name, processor, statistics.median(seconds), worst, size, size + rest)


def _computed(running: Stack) -> float:
    """Return the seconds of processor time that the server's process has spent."""
    spent = psutil.Process(running.processes[0].pid).cpu_times()
    return spent.user + spent.system


def _timed(client: httpx2.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began


def _weighed(client: httpx2.Client, path: str) -> tuple[int, str]:
    """Return how many bytes of a body were sent, and its text."""
    with client.stream("GET", path) as answer:
        answer.raise_for_status()
        raw = b"".join(answer.iter_raw())
    return len(raw), client.get(path).text


def _keep(path: Path, candidates: int, figures: list[Figure]) -> None:
    """Write the figures down, as data and in their part of the page beside it."""
    today, machine = (
        datetime.now(UTC).date().isoformat(),
        f"Python {platform.python_version()}, {os.cpu_count()} cores",
    )
    kept = {
        "measured_at": today,
        "machine": machine,
        "candidates": candidates,
        "pages": [asdict(figure) for figure in figures],
    }
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    rows = [
        f"| {f.page} | {1e3 * f.processor:.0f} ms | {1e3 * f.median:.0f} ms | {1e3 * f.worst:.0f} ms "
        f"| {f.page_bytes / 1e3:.1f} kB | {f.first_load_bytes / 1e3:.1f} kB |"
        for f in figures
    ]
    head = TABLE.format(
        candidates=candidates, today=today, machine=machine, load=os.getloadavg()[0]
    )
    page = path.with_suffix(".md")
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    table = START + head + "\n".join(rows) + "\n" + END
    page.write_text(before.rstrip() + "\n\n" + table + after, encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
