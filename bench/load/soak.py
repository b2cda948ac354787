"""A long life: submissions, polls, event streams, cancels, a worker that is replaced; who grows?

    setsid nohup make load SOAK=30 > soak.log &

One server and one worker live through all of it; beside them a second worker is stopped and started
again, as an upgrade does.  Every sample is written as it is taken, to `.load/soak.jsonl`.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx2
import psutil

from bench.load.house import OWNERS, House, open_house
from bench.load.moments import QUICK_JOB
from bench.load.phases import kept, wait_for
from bench.load.watching import Size, load_average, size_of
from bench.reliability.results import ROOT
from core.records.kinds import FINISHED

Json: TypeAlias = dict[str, Any]

SAMPLES = ROOT / ".load" / "soak.jsonl"
SAMPLE_SECONDS = 10.0
WARM_UP_SHARE = 1 / 6
WINDOW_SHARE = 1 / 6  # at the beginning and at the end, which are compared
RECYCLES = 6
SUBMIT_SECONDS = 0.5
POLL_SECONDS = 0.05
MOST_OPEN = 40  # unfinished jobs; of more, some are cancelled
STREAMS = 8
STREAM_SECONDS = 20.0
WHOLE_JOBS = 4
PATHS = ("", "/events", "/iterations", "/candidates", "/exchanges")


@dataclass
class Soak:
    """The clients, and what they have seen."""

    house: House
    stopping: threading.Event = field(default_factory=threading.Event)
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    open: deque[tuple[str, int]] = field(default_factory=deque)
    recent: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=200))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> list[threading.Thread]:
        """Let clients loose; each is a thread that goes on until it is told to stop."""
        works: list[Callable[[random.Random], None]] = [
            self._submit,
            self._poll,
            *[self._follow] * STREAMS,
        ]
        threads = [
            threading.Thread(target=self._again_and_again, args=(work, n), daemon=True)
            for n, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _again_and_again(self, work: Callable[[random.Random], None], seed: int) -> None:
        chance = random.Random(seed)
        while not self.stopping.is_set():
            try:
                work(chance)
            except (httpx2.HTTPError, KeyError) as error:
                self._count(
                    self.errors,
                    f"{work.__name__.strip('_')}: {type(error).__name__}: {error}"[:200],
                )
                self.stopping.wait(0.1)

    def _submit(self, chance: random.Random) -> None:
        with self._client(chance.randrange(OWNERS)) as (client, owner):
            answer = client.post("/v1/jobs", json={**QUICK_JOB, "seed": chance.randrange(2**31)})
            job = answer.raise_for_status().json()["id"]
            self.accepted.append(job)
            self.open.append((job, owner))
            self.recent.append((job, owner))
            self._count(self.done, "submissions")
        self._keep_few_open(chance)
        self.stopping.wait(SUBMIT_SECONDS)

    def _keep_few_open(self, chance: random.Random) -> None:
        """Forget jobs that have ended, and cancel one when there are many."""
        for _ in range(min(4, len(self.open))):
            job, owner = self.open.popleft()
            with self._client(owner) as (client, _):
                ended = (
                    client.get(f"/v1/jobs/{job}").raise_for_status().json()["status"] in FINISHED
                )
            if not ended:
                self.open.append((job, owner))
        if len(self.open) > MOST_OPEN:
            place = chance.randrange(len(self.open))
            job, owner = self.open[place]
            del self.open[place]
            with self._client(owner) as (client, _):
                answer = client.post(f"/v1/jobs/{job}/cancel")
                if answer.status_code != 409:  # it ended in this moment
                    answer.raise_for_status()
            self._count(self.done, "cancels")

    def _poll(self, chance: random.Random) -> None:
        if self.recent:
            job, owner = chance.choice(self.recent)
            with self._client(owner) as (client, _):
                path = (
                    "/v1/jobs"
                    if chance.randrange(10) == 0
                    else f"/v1/jobs/{job}{chance.choice(PATHS)}"
                )
                client.get(path).raise_for_status()
            self._count(self.done, "polls")
        self.stopping.wait(POLL_SECONDS)

    def _follow(self, chance: random.Random) -> None:
        if not self.recent:
            self.stopping.wait(0.2)
            return
        job, owner = self.recent[-1 - chance.randrange(min(5, len(self.recent)))]
        until = time.monotonic() + STREAM_SECONDS
        accept = {"Accept": "text/event-stream"}
        with (
            self._client(owner) as (client, _),
            client.stream("GET", f"/v1/jobs/{job}/events", headers=accept) as stream,
        ):
            stream.raise_for_status()
            for _ in stream.iter_lines():
                if self.stopping.is_set() or time.monotonic() > until:
                    break
        self._count(self.done, "streams")

    def _client(self, owner: int) -> _Visit:
        return _Visit(self.house.client(owner), owner)

    def _count(self, what: Counter[str], name: str) -> None:
        with self.lock:
            what[name] += 1


@dataclass
class _Visit:
    """A client and its owner; closed in the end, so that connections come and go as strangers' do."""

    client: httpx2.Client
    owner: int

    def __enter__(self) -> tuple[httpx2.Client, int]:
        return self.client, self.owner

    def __exit__(self, *_: object) -> None:
        self.client.close()


def soak(seconds: float) -> Json:
    """Live that long and tell who grew, what broke, and whether anything was lost."""
    with open_house() as house, ExitStack() as stack:
        before = load_average()
        house.start_worker("worker-0")
        clients = Soak(house, accepted=every_step_once(house))
        house.start_worker("worker-1")
        threads = clients.start()
        stack.callback(clients.stopping.set)
        samples, recycles = _live(house, seconds)
        clients.stopping.set()
        for thread in threads:
            thread.join(30)
        found = {
            "minutes": round(seconds / 60, 1),
            "load_before": before,
            **dict(clients.done),
            "recycled_workers": recycles,
            "errors_by_kind": dict(clients.errors),
            "broken_steps": dict(broken_steps(house.folder.glob("worker-*.log"))),
            **kept(house, clients.accepted, 0),
            "sizes": {name: growth(taken) for name, taken in samples.items()},
        }
        told = (*clients.errors.values(), *found["broken_steps"].values())
        return {**found, "broken": sum(told) + found["failed"] + found["lost"]}


def broken_steps(logs: Iterable[Path]) -> Counter[str]:
    """Count the steps that workers could not do, by the last line of what was raised."""
    lines = (line for log in logs for line in log.read_text().splitlines())
    told = (json.loads(line) for line in lines if '"step failed"' in line)
    return Counter(one["exception"].strip().splitlines()[-1][:200] for one in told)


def every_step_once(house: House) -> list[str]:
    """Let the one worker do whole jobs; return their ids.

    What the first film or the first tuner loads, and holds from then on, is no growth.  Later most
    jobs are cancelled, and on a slow machine a quarter of an hour goes by before one is filmed.
    """
    with house.client() as client:
        new = [{**QUICK_JOB, "seed": number} for number in range(WHOLE_JOBS)]
        jobs = [client.post("/v1/jobs", json=one).raise_for_status().json()["id"] for one in new]

        def ended(job: str) -> bool:
            return client.get(f"/v1/jobs/{job}").json()["status"] in FINISHED

        wait_for(lambda: all(map(ended, jobs)), seconds=60.0 * WHOLE_JOBS, every=0.5)
    return jobs


def _live(house: House, seconds: float) -> tuple[Mapping[str, list[Size]], int]:
    begun, recycles = time.monotonic(), 0
    samples: dict[str, list[Size]] = {"server": [], "worker": [], "zygote": []}
    SAMPLES.parent.mkdir(exist_ok=True)
    with SAMPLES.open("w") as file:
        while (lived := time.monotonic() - begun) < seconds:
            if lived > (recycles + 1) * seconds / (RECYCLES + 1):
                _recycle(house, "worker-1")
                recycles += 1
            taken = _sample(house)
            for name, size in taken.items():
                samples[name].append(size)
            row = {"seconds": round(lived), **{name: asdict(size) for name, size in taken.items()}}
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(json.dumps(row), file=sys.stderr)
            time.sleep(min(SAMPLE_SECONDS, seconds / 30))
    return samples, recycles


def _sample(house: House) -> dict[str, Size]:
    """Look at those who live through all of it.

    Raises:
        RuntimeError: one of them has ended.
    """
    heads = house.trees()
    zygotes = psutil.Process(heads["worker-0"]).children()
    zygote = max(zygotes, key=lambda one: one.memory_info().rss).pid  # the one that trains
    pids = {"server": heads["server"], "worker": heads["worker-0"], "zygote": zygote}
    sizes = {name: size_of(pid) for name, pid in pids.items()}
    ended = [name for name, size in sizes.items() if size is None]
    if ended:
        raise RuntimeError(f"{', '.join(ended)} ended")
    return {name: size for name, size in sizes.items() if size is not None}


def _recycle(house: House, name: str) -> None:
    """Replace a worker as an operator does: ask it to end, wait, start the next one."""
    worker = house.workers.pop(name)
    assert worker.process is not None
    worker.process.terminate()
    worker.process.wait(60)
    house.start_worker(name)


def growth(samples: Sequence[Size]) -> Json:
    """Compare a while after the warm-up with the last while, by medians.

    >>> sizes = [Size(10, 5, 2)] * 5 + [Size(20, 5, 2)] * 5 + [Size(21, 6, 2)] * 5
    >>> growth(sizes)["mebibytes"], growth(sizes)["descriptors"], growth(sizes)["percent"]
    ([20, 21], [5, 6], 5.0)
    """
    number = len(samples)
    window = max(1, int(number * WINDOW_SHARE))
    start = min(int(number * WARM_UP_SHARE), max(0, number - 2 * window))
    ends = (samples[start : start + window], samples[-window:])
    found: Json = {
        name: [statistics.median(getattr(size, name) for size in end) for end in ends]
        for name in ("mebibytes", "descriptors", "threads")
    }
    first, last = found["mebibytes"]
    return {**found, "percent": round(100 * (last - first) / first, 1)}
