"""The product's own worker in this process: it trains arms, and carries jobs out to their end.

Everything lies in a folder of its own (database, artifacts), so a job that was cut off goes on from its
last stored fact.  Held-out episodes are drawn from a fixed key, for the same numbers on every machine.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from api.schemas import JobRequest
from api.submission import complete
from core.loop import next_steps, step_key
from core.orders import CONFIRMATION
from core.packs import physics_threads
from core.ports import Arm, PackOrder, Progress
from core.records.history import History
from core.records.kinds import FINISHED
from core.records.measured import Preflight, Run
from core.records.spec import JobSpec
from core.settings import read_settings
from core.storage import Store, StoredJob, open_store
from core.training.held_out import held_out_seeds
from migrations import upgrade
from workers.carrying import Carrier
from workers.logs import configure_logs
from workers.main import owner_name
from workers.toolbox import Bench, open_bench

CORES = 2
_KEY = b"the ladder's episodes are no secret"
_PREFLIGHT_SEED = 0
_POLL_SECONDS = 0.2
_REST_SECONDS = 1.0
_LONG_REST_SECONDS = 30.0
_RESTS = ("paused", "awaiting_feedback")
RESULTS = ("no_valid_candidate",)  # failures that tell of the designer, not of the machine

Request = Mapping[str, Any]
Train = Callable[[JobSpec, Arm, Sequence[int]], tuple[Run, ...]]


class JobBroke(RuntimeError):
    """A job ended because of the machine or the system; it says nothing of its designs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended; that it failed is a result.

    Attributes:
        job:     its id.
        history: every fact of it.
        seconds: that it took this time.
        resumed: whether it had begun before, so that it took longer than that.
    """

    job: str
    history: History
    seconds: float
    resumed: bool


@dataclass(slots=True)
class House:
    """A store, a sandbox with everything that trains in it, and what preflight found so far."""

    store: Store
    bench: Bench
    cores: int = CORES
    _found: dict[str, Preflight] = field(default_factory=dict)

    def train(
        self, spec: JobSpec, arm: Arm, seeds: Sequence[int], *, checkpoints: int = 1
    ) -> tuple[Run, ...]:
        """Train one arm from scratch with these seeds, as a job's confirmation does.

        Raises:
            RewardsmithError: the machine or the task is at fault, not the program.
        """
        found = self.preflight(spec)
        parts = [tuple(seeds[start :: self.cores]) for start in range(self.cores)]
        orders = [_order(spec, found, arm, part, checkpoints, self.cores) for part in parts if part]
        with ThreadPoolExecutor(self.cores) as pool:
            results = list(pool.map(lambda order: self._laboratory.train(order, _quiet), orders))
        runs = {run.seed: run for result in results for run in result.runs}
        return tuple(runs[seed] for seed in seeds)

    def preflight(self, spec: JobSpec) -> Preflight:
        """Build and probe the environment, once per task."""
        if spec.task.name not in self._found:
            self._found[spec.task.name] = self._laboratory.preflight(
                spec.task, spec.training, _PREFLIGHT_SEED, _quiet
            )
        return self._found[spec.task.name]

    def carry_out(self, request: Request, key: str) -> Ended:
        """Bring a job to its end; one that was begun under the same key goes on.

        Raises:
            RuntimeError: it rests until people mend something, such as the designer's key.
            JobBroke: it ended for a reason that is not the design's; the next call begins it anew.
        """
        began = time.monotonic()
        spec = complete(JobRequest(**request))
        job, resumed = self._begun(spec, key)
        tools = replace(self.bench.tools, held_out=_held_out_of(spec))
        carrier = Carrier(self.store, replace(self.bench, tools=tools), owner_name(), 15.0)
        pool = ThreadPoolExecutor(self.cores)
        try:
            history = _drive(self.store, carrier, job.id, pool, self.cores)
        finally:
            carrier.stopping.set()  # steps under way notice within a second and give their claims back
            pool.shutdown(wait=True, cancel_futures=True)
        if _broke(ended := self.store.job(job.id)):
            raise JobBroke(f"{job.id} ended as {ended.status}: {history.failure}")
        return Ended(job.id, history, round(time.monotonic() - began, 1), resumed)

    def _begun(self, spec: JobSpec, key: str) -> tuple[StoredJob, bool]:
        """Return the job of a key and whether it had begun before; a new one where the last broke."""
        for attempt in itertools.count():
            name = f"{key}-{attempt}"
            job, known = self.store.create_job(
                spec,
                idempotency_key=name,
                body_sha256=hashlib.sha256(name.encode()).hexdigest(),
                name=name[:100],
                labels={},
            )
            if not _broke(job):
                return job, known
        raise AssertionError("counting never ends")

    def rest(self) -> None:
        """Wait until a machine that was short of something may have it again."""
        time.sleep(_LONG_REST_SECONDS)

    @property
    def _laboratory(self) -> Any:
        return self.bench.tools.laboratory


@contextmanager
def open_house(folder: Path, cores: int = CORES) -> Iterator[House]:
    """Open the house in a folder; the sandbox ends with it."""
    settings = read_settings(home=folder, worker_slots=cores, log_level="warning")
    configure_logs(settings.log_level)
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.database_url)
    bench = None
    try:
        upgrade(settings.database_url)
        store.check_schema()
        bench = open_bench(settings, store, trains=True, slots=cores)
        yield House(store, bench, cores)
    finally:
        if bench is not None:
            bench.close()
        store.close()


def digest(thing: Any) -> str:
    """Name a JSON-like value by what it says."""
    text = json.dumps(thing, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _broke(job: StoredJob) -> bool:
    """Tell whether a job ended for a reason that says nothing about its designs."""
    if job.failure is not None:
        return job.failure.reason not in RESULTS
    return job.status == "cancelled"


def _drive(
    store: Store, carrier: Carrier, job_id: str, pool: ThreadPoolExecutor, cores: int
) -> History:
    under_way: dict[str, Future[bool]] = {}
    while (history := store.history(job_id)).status not in FINISHED:
        for step in next_steps(history):
            key = step_key(step)
            if key not in under_way and len(under_way) < cores:
                under_way[key] = pool.submit(carrier.carry_out_now, job_id, key)
        if not under_way and history.status in _RESTS:
            events = store.events(job_id, limit=1000)
            raise RuntimeError(f"{job_id} is {history.status}: {events[-1].message}")
        done, _ = wait(under_way.values(), _POLL_SECONDS, return_when=FIRST_COMPLETED)
        idle = not any(future.result() for future in done)
        if idle and len(done) == len(under_way):
            time.sleep(_REST_SECONDS)  # a claim of somebody who died lapses, or a step rests
        under_way = {key: future for key, future in under_way.items() if future not in done}
    return history


def _order(
    spec: JobSpec,
    found: Preflight,
    arm: Arm,
    seeds: Sequence[int],
    checkpoints: int,
    packs: int,
) -> PackOrder:
    evaluation = spec.evaluation
    return PackOrder(
        task=replace(spec.task, fields=found.fields),
        preflight=found,
        training=spec.training,
        stage="confirm",
        rung=len(spec.training.rungs) - 1,
        mode=spec.mode,
        weight=spec.weight,
        members=tuple((arm.key, seed) for seed in seeds),
        arms={arm.key: arm},
        start_steps=0,
        stop_steps=spec.training.steps,
        held_out=_held_out_of(spec)("", CONFIRMATION, 0, evaluation.confirm_episodes),
        checkpoints=checkpoints,
        record=False,
        threads=physics_threads(found, packs),
    )


def _held_out_of(spec: JobSpec) -> Callable[[str, int, int, int], tuple[int, ...]]:
    """Draw a job's episodes: those of the confirmation are the same for all arms of a task."""

    def draw(job_id: str, iteration: int, rung: int, n: int) -> tuple[int, ...]:
        del job_id  # another one on every machine
        if iteration == CONFIRMATION:
            return held_out_seeds(_KEY, spec.task.name, "confirm", 0, n)
        return held_out_seeds(_KEY, f"{spec.task.name}/{spec.seed}", iteration, rung, n)

    return draw


def _quiet(progress: Progress) -> None:
    """Let a training go on, whatever it says."""
