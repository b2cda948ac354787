"""One round: start everything, let the schedule happen, wait until all is quiet, and look."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from sqlalchemy import Engine, text

import migrations
from core.failpoints import VARIABLE
from core.records.kinds import FINISHED
from core.storage import open_store
from core.storage.engine import open_engine
from tests.chaos.children import Postgres, Valkey, free_port
from tests.chaos.clients import Clients
from tests.chaos.invariants import Scene, broken
from tests.chaos.nursery import Nursery
from tests.chaos.pretend import SLOW
from tests.chaos.provider import Provider
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import LASTS, Fault, Lots, Plan, draw
from tests.chaos.strangers import seen_by

LEASE_SECONDS = 2.0
TICK_SECONDS = 0.02
STOP_SECONDS = 30.0
GHOST_SECONDS = 4.0  # in which a worker that was stopped may do harm
FULL_BYTES = 1_024  # a file may grow no further while the disk is full
CANARIES = {
    "the endpoint's key": "sk-canary-5f0c1d7e9a2b4c68",
    "the secret of the seeds": "canary-secret-0b1e3c5d7f9a8e6c4b2d",
}


@dataclass
class Worker:
    """One of the workers, as the suite sees it."""

    name: str
    pid: int = 0
    point: str | None = None
    dead_since: float | None = None
    doomed: bool = False  # killed by the schedule
    leaving_since: float | None = None  # told to stop


@dataclass
class Round:
    """The state of a round; methods are called from the main thread alone."""

    plan: Plan
    folder: Path
    embedded: bool
    mutations: Sequence[str]
    nursery: Nursery
    provider: Provider
    server_port: int
    database_url: str
    broker_url: str
    postgres: Postgres | None = None
    valkey: Valkey | None = None
    proxy: Proxy | None = None
    counts: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    heal: list[tuple[float, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lots = Lots(self.plan.seed)
        self.workers = [Worker(f"worker-{n}") for n in range(self.plan.workers)]
        self.server = Worker("server")
        self.quiet = False
        self.statuses: dict[str, int] = {}
        self.strange_key = ""
        self.seen: list[str] = []

    # --- processes ----------------------------------------------------------------------------

    def start_all(self) -> None:
        for worker in self.workers:
            self._start_worker(worker)
        self._start_server()

    def environment(self, number: int | None = None) -> dict[str, str]:
        url = self.database_url
        if self.proxy is not None and self.postgres is not None and number is not None:
            url = url.replace(f":{self.postgres.port}/", f":{self.proxy.ports[number]}/")
        return {
            "REWARDSMITH_HOME": str(self.folder / "home"),
            "REWARDSMITH_DATABASE_URL": url,
            "REWARDSMITH_BROKER_URL": self.broker_url,
            "REWARDSMITH_KEYS": "always",
            "REWARDSMITH_REQUESTS_PER_MINUTE": "100000",
            "REWARDSMITH_LEASE_SECONDS": str(LEASE_SECONDS),
            "REWARDSMITH_OPENAI_API_KEY": CANARIES["the endpoint's key"],
            "REWARDSMITH_OPENAI_BASE_URL": self.provider.url,
            SLOW: str(self.plan.slow),
            "REWARDSMITH_SECRET": CANARIES["the secret of the seeds"],
        }

    def _start_worker(self, worker: Worker) -> None:
        number = self.workers.index(worker)
        plan, point = self.plan, None
        if not self.quiet:
            given = (plan.points, plan.armed, plan.stops, plan.stopped)
            point = self.lots.failpoint(worker.name, *given)
        worker.point = point
        armed = {VARIABLE: worker.point} if worker.point else {}
        chance = self.lots.of("clocks")
        shift = chance.choice((-7200, 7200)) if chance.random() < self.plan.shifted else 0
        self.counts["clock jumps"] += bool(shift)
        worker.pid = self.nursery.start(
            worker.name,
            start="worker",
            slots=self.plan.slots,
            environment={**self.environment(number), **armed},
            shift_seconds=shift,
            mutations=list(self.mutations),
        )
        worker.dead_since = None
        worker.doomed, worker.leaving_since = False, None

    def _start_server(self) -> None:
        share = 0.0 if self.quiet else self.plan.server_armed
        point = self.lots.failpoint("server", self.plan.server_points, share)
        armed = {VARIABLE: point} if point else {}
        self.server.point, self.server.dead_since = point, None
        self.server.pid = self.nursery.start(
            "server",
            start="server",
            port=self.server_port,
            environment={**self.environment(), **armed},
            mutations=list(self.mutations),
        )

    def tick(self) -> None:
        """Notice who died, mend what is due, and start again what is dead."""
        for death in self.nursery.listen():
            if "pid" in death and "name" not in death:
                self._bury(death)
        self._notice_stops()
        now = time.monotonic()
        for due in [item for item in self.heal if item[0] <= now]:
            self.heal.remove(due)
            due[1]()
        for worker in self.workers:
            if worker.dead_since is not None and now - worker.dead_since > 0.1:
                self._start_worker(worker)
            if worker.leaving_since and now - worker.leaving_since > STOP_SECONDS:
                self.wrong.append(f"{worker.name} did not stop within {STOP_SECONDS} s")
                worker.leaving_since = None
                self._send(worker.pid, signal.SIGKILL)
        if self.server.dead_since is not None:
            self._start_server()

    def _notice_stops(self) -> None:
        """Let workers that stopped at a failpoint go on after longer than their lease."""
        chance = self.lots.of("stops")
        for worker in self.workers:
            armed = worker.point is not None and worker.point.endswith(":stop")
            if armed and worker.dead_since is None and _is_stopped(worker.pid):
                self.counts["worker pauses"] += 1
                self.points[f"{worker.point.partition(':')[0]} (stop)"] += 1  # type: ignore[union-attr]
                worker.point = None
                pid, leases = worker.pid, chance.uniform(*LASTS["pause a worker"])
                self._later(leases * LEASE_SECONDS, lambda pid=pid: self._continue(pid))
                seconds = leases * LEASE_SECONDS + GHOST_SECONDS
                self._later(seconds, lambda worker=worker, pid=pid: self._end(worker, pid))

    def _bury(self, death: dict[str, Any]) -> None:
        name = self.nursery.names.pop(death["pid"], None)
        owner = next((w for w in (*self.workers, self.server) if w.name == name), None)
        if owner is None or owner.pid != death["pid"]:
            return
        owner.dead_since = time.monotonic()
        killed = death["signal"] == signal.SIGKILL
        if owner is self.server:
            self.counts["server kills"] += killed
            return
        if killed:
            self.counts["worker kills"] += 1
            if owner.point and not owner.doomed and not owner.point.endswith(":stop"):
                self.points[owner.point.partition(":")[0]] += 1
        elif owner.leaving_since is not None:
            self.counts["worker stops"] += 1
            if death["code"] != 0:
                self.wrong.append(f"{name} ended with {death} when it was told to stop")
        elif death["code"] != 1:  # a database that is away at the start ends a worker with 1
            self.wrong.append(f"{name} ended by itself: {death}")

    # --- faults -------------------------------------------------------------------------------

    def happen(self, fault: Fault) -> None:
        worker = self.workers[fault.victim]
        alive = worker.dead_since is None and worker.leaving_since is None
        act = getattr(self, "_" + fault.kind.replace(" ", "_").lower())
        act(fault, worker if alive else None)

    def _later(self, seconds: float, work: Any) -> None:
        self.heal.append((time.monotonic() + seconds, work))

    def _kill_a_worker(self, fault: Fault, worker: Worker | None) -> None:
        if worker is not None:
            worker.doomed = True
            self._signal(worker, signal.SIGKILL)

    def _stop_a_worker(self, fault: Fault, worker: Worker | None) -> None:
        if worker is not None and _catches(worker.pid, signal.SIGTERM):  # and has come so far
            worker.leaving_since = time.monotonic()
            self._signal(worker, signal.SIGTERM)

    def _pause_a_worker(self, fault: Fault, worker: Worker | None) -> None:
        if worker is None:
            return
        pid = worker.pid
        self._signal(worker, signal.SIGSTOP)
        self.counts["worker pauses"] += 1
        self._later(fault.seconds * LEASE_SECONDS, lambda: self._continue(pid))

    def _continue(self, pid: int) -> None:
        self._send(pid, signal.SIGCONT)

    def _end(self, worker: Worker, pid: int) -> None:
        """Kill a worker that went on after its stop, so that another one is armed."""
        if worker.pid == pid and worker.dead_since is None and worker.leaving_since is None:
            worker.doomed = True
            self._signal(worker, signal.SIGKILL)

    def _kill_the_server(self, fault: Fault, worker: Worker | None) -> None:
        if self.server.dead_since is None:
            self._signal(self.server, signal.SIGKILL)

    def _signal(self, worker: Worker, number: int) -> None:
        self._send(worker.pid, number)

    def _send(self, pid: int, number: int) -> None:
        """Send a signal to a child; it may be dead by now, and the nursery's word of it under way."""
        if pid in self.nursery.names:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _kill_postgresql(self, fault: Fault, worker: Worker | None) -> None:
        assert self.postgres is not None
        self.postgres.server.kill()
        self.counts["PostgreSQL kills"] += 1
        self._later(fault.seconds, self._start_postgres)

    def _start_postgres(self) -> None:
        assert self.postgres is not None
        self.postgres.server.start()
        self.postgres.server.wait()

    def _take_no_writes(self, fault: Fault, worker: Worker | None) -> None:
        """Let PostgreSQL be what a standby is, and what one with a full disk is made to be."""
        self._allow_writes(False)
        self.counts["times without writes"] += 1
        self._later(fault.seconds, lambda: self._allow_writes(True))

    def _allow_writes(self, allowed: bool) -> None:
        assert self.postgres is not None
        word = "off" if allowed else "on"
        try:
            with psycopg.connect(
                self.postgres.admin_url,
                autocommit=True,
                options="-c default_transaction_read_only=off",
            ) as connection:
                connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {word}")
                connection.execute("SELECT pg_reload_conf()")
        except psycopg.OperationalError:  # it is down at the moment
            if allowed:
                self._later(0.5, lambda: self._allow_writes(True))

    def _kill_the_broker(self, fault: Fault, worker: Worker | None) -> None:
        assert self.valkey is not None
        if self.valkey.server.process is not None and self.valkey.server.process.poll() is None:
            self.valkey.server.kill()
            self.counts["broker kills"] += 1
            self._later(fault.seconds, self.valkey.server.start)

    def _flush_the_broker(self, fault: Fault, worker: Worker | None) -> None:
        assert self.valkey is not None
        self.valkey.flush()
        self.counts["broker flushes"] += 1

    def _partition(self, fault: Fault, worker: Worker | None) -> None:
        proxy, victim = self.proxy, fault.victim
        assert proxy is not None
        proxy.tell("pause", victim)
        self.counts["partitions"] += 1
        self._later(fault.seconds * LEASE_SECONDS, lambda: proxy.tell("resume", victim))

    def _fill_the_disk(self, fault: Fault, worker: Worker | None) -> None:
        if worker is None:
            return
        pid = worker.pid
        with suppress(ProcessLookupError):
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_BYTES, most))
            self.counts["full disks"] += 1
            self._later(fault.seconds, lambda: self._make_room(pid, most))

    def _make_room(self, pid: int, most: int) -> None:
        if pid in self.nursery.names:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))

    def _take_the_endpoint_down(self, fault: Fault, worker: Worker | None) -> None:
        self.provider.down.set()
        self.counts["outages"] += 1
        self._later(fault.seconds, self.provider.down.clear)

    def be_quiet(self) -> None:
        """Mend everything that is broken; whoever is armed is killed and starts again unarmed."""
        self.quiet = True
        while self.heal:
            works, self.heal = self.heal, []
            for _, work in works:
                work()
        self.provider.heal()
        for worker in (*self.workers, self.server):
            if worker.point is not None and worker.dead_since is None:
                worker.doomed = True
                self._signal(worker, signal.SIGKILL)


def _catches(pid: int, number: int) -> bool:
    """Tell whether a process handles a signal by itself; before it does, the signal ends it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


def _is_stopped(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state == "T"


@contextmanager
def opened(
    plan: Plan, folder: Path, embedded: bool, mutations: Sequence[str]
) -> Iterator[tuple[Round, Clients]]:
    """Start the databases, the nursery and everything else, and end them all."""
    with ExitStack() as stack:
        (folder / "home").mkdir(parents=True, exist_ok=True)
        nursery = Nursery(folder / "processes.log")
        stack.callback(nursery.stop)
        secrets = tuple(CANARIES.values())
        provider = stack.enter_context(Provider(plan.seed, plan.misbehaviour, secrets))
        given: dict[str, Any] = {}
        if embedded:
            url, broker = f"sqlite:///{folder}/home/rewardsmith.db", "filesystem://"
        else:
            postgres, valkey = Postgres(folder), Valkey(folder)
            for server in (postgres.server, valkey.server):
                server.start()
                stack.callback(server.stop)
                server.wait()
            proxy = Proxy(plan.workers, postgres.port)
            stack.callback(proxy.stop)
            url, broker = postgres.admin_url, valkey.url
            given = {"postgres": postgres, "valkey": valkey, "proxy": proxy}
        migrations.upgrade(url)
        port = free_port()
        one = Round(
            plan, folder, embedded, mutations, nursery, provider, port, url, broker, **given
        )
        keys = open_store(url)
        (_, own), (_, one.strange_key) = keys.keys.create("alice"), keys.keys.create("bob")
        keys.close()
        clients = Clients(f"http://127.0.0.1:{port}", plan, own)
        stack.callback(clients.stop)
        yield one, clients


def run(
    plan: Plan, folder: Path, *, embedded: bool = False, mutations: Sequence[str] = ()
) -> dict[str, Any]:
    """Live through a round and return what happened and what was broken."""
    begun = time.monotonic()
    with opened(plan, folder, embedded, mutations) as (one, clients):
        one.start_all()
        clients.start()
        _suffer(one, draw(plan))
        one.be_quiet()
        _settle(one, clients)
        found = _look(one, clients)
        if found:
            _dump(one)
    return {
        "seed": plan.seed,
        "stack": "SQLite, folder" if embedded else "PostgreSQL, Valkey",
        "seconds": round(time.monotonic() - begun, 1),
        "jobs": len(clients.accepted),
        **{name.replace(" ", "_"): count for name, count in sorted(one.counts.items())},
        "failpoints": dict(sorted(one.points.items())),
        "endpoint": dict(sorted(one.provider.served.items())),
        "statuses": one.statuses,
        "violations": sum(map(len, found.values())),
        "broken": {name: wrong[:5] for name, wrong in found.items()},
        "mutations": list(mutations),
    }


def _suffer(one: Round, faults: list[Fault]) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < one.plan.seconds:
        while faults and faults[0].at <= time.monotonic() - begun:
            one.happen(faults.pop(0))
        one.tick()
        time.sleep(TICK_SECONDS)
    _kill_enough(one)


def _kill_enough(one: Round) -> None:
    """Make up for the kills that met nobody alive."""
    chance = one.lots.of("further kills")
    while one.counts["worker kills"] < one.plan.least_kills:
        one.happen(Fault(0.0, "kill a worker", chance.randrange(one.plan.workers)))
        for _ in range(10):
            one.tick()
            time.sleep(TICK_SECONDS)


def _settle(one: Round, clients: Clients) -> None:
    """Wait until every job has ended and the server answers, and stop everybody politely."""
    engine = open_engine(one.database_url)
    until = time.monotonic() + one.plan.settle_seconds
    try:
        while time.monotonic() < until:
            one.tick()
            if clients.submitted() and not _open_jobs(engine) and _answers(clients.url):
                break
            time.sleep(0.1)
    finally:
        engine.dispose()
    clients.stop()
    _let_a_stranger_look(one, clients)
    for worker in (*one.workers, one.server):
        one._signal(worker, signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    while one.nursery.names and time.monotonic() < until:
        for death in one.nursery.listen():
            one.nursery.names.pop(death.get("pid", 0), None)
        time.sleep(TICK_SECONDS)


def _let_a_stranger_look(one: Round, clients: Clients) -> None:
    store = open_store(one.database_url)
    try:
        one.seen = seen_by(clients.url, one.strange_key, store, clients.accepted)
    finally:
        store.close()


def _answers(url: str) -> bool:
    """Tell whether the server is up; the last kill may have been a moment ago."""
    try:
        return httpx2.get(url + "/healthz", timeout=5).status_code < 500
    except httpx2.TransportError:
        return False


def _open_jobs(engine: Engine) -> bool:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT DISTINCT status FROM jobs"))
        return any(row.status not in FINISHED for row in rows)


def _look(one: Round, clients: Clients) -> dict[str, list[str]]:
    engine, store = open_engine(one.database_url), open_store(one.database_url)
    logs = [path for path in one.folder.glob("*.log") if path.name != "postgres.log"]
    scene = Scene(
        engine,
        store,
        one.folder / "home" / "artifacts",
        clients.accepted,
        CANARIES,
        logs,
        tuple(one.nursery.names),
        one.provider.leaks,
        one.provider.answered,
        seen=tuple(one.seen),
    )
    found = broken(scene)
    statuses = Counter(row.status for row in scene.rows("SELECT status FROM jobs"))
    one.statuses = dict(statuses)
    engine.dispose()
    store.close()
    outside = one.wrong + clients.wrong
    return {**found, "outside": outside} if outside else found


def _dump(one: Round) -> None:
    """Say how to live through it again, and keep the events for whoever looks for the cause."""
    path = one.folder / "events.jsonl"
    engine = open_engine(one.database_url)
    with engine.connect() as connection, path.open("w") as file:
        for row in connection.execute(text("SELECT * FROM events ORDER BY job_id, seq")).mappings():
            file.write(json.dumps(dict(row), default=str) + "\n")
    engine.dispose()
    print(f"seed {one.plan.seed}: events in {path}", file=sys.stderr)
