"""What is loaded: PostgreSQL and Valkey, the server and its workers, each as it is deployed.

PostgreSQL's files lie on the disk, and it waits for the disk before it commits.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil

import migrations
from bench.reliability.results import ROOT
from core.storage import Store, open_store
from tests.chaos.children import Postgres, Server, Valkey, free_port

OWNERS = 4
LEASE_SECONDS = 15.0  # the usual one
STOP_SECONDS = 30.0
# Four owners do here what hundreds do elsewhere.
RAISED = {"REWARDSMITH_REQUESTS_PER_MINUTE": "10000000", "REWARDSMITH_JOBS_PER_OWNER": "1000000"}


@dataclass
class House:
    """The running service, and the ways to ask it.

    Attributes:
        folder: of everything, logs included.
        keys:   one per owner, good for all that a user may ask.
        store:  a look at the database from beside.
        processes: of the server.
    """

    folder: Path
    postgres: Postgres
    valkey: Valkey
    keys: Sequence[str]
    store: Store
    processes: int = 1
    port: int = field(default_factory=free_port)
    server: Server = field(init=False)
    workers: dict[str, Server] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare the server; nothing runs yet."""
        arguments = (
            *("serve", "--workers", "0", "--processes", str(self.processes)),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        )
        self.server = self._command("server", arguments, self._answers)

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, owner: int = 0) -> httpx2.Client:
        """Return a client of one of the owners."""
        headers = {"Authorization": f"Bearer {self.keys[owner]}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30)

    def start_worker(
        self,
        name: str,
        queues: str = "design,train",
        slots: int = 1,
        lease_seconds: float = LEASE_SECONDS,
    ) -> Server:
        """Start a worker and wait until it has begun to work."""
        alive = self.folder / f"{name}.alive"
        alive.unlink(missing_ok=True)
        arguments = (
            "worker",
            "--queues",
            queues,
            "--slots",
            str(slots),
            "--alive-file",
            str(alive),
        )
        own = {"REWARDSMITH_LEASE_SECONDS": str(lease_seconds)}
        self.workers[name] = worker = self._command(name, arguments, alive.exists, own)
        worker.start()
        worker.wait()
        return worker

    def stop_workers(self) -> None:
        """Ask all workers to end, as an operator does, and wait until they have."""
        for worker in self.workers.values():
            if worker.process is not None:
                worker.process.terminate()
        for worker in self.workers.values():
            if worker.process is not None:
                worker.process.wait(STOP_SECONDS)
        self.workers.clear()

    def worker_pids(self) -> list[int]:
        """Return the workers' own processes."""
        found = [worker.process for worker in self.workers.values()]
        return [process.pid for process in found if process is not None]

    def trees(self) -> dict[str, int]:
        """Return the process at the head of each part."""
        heads = {
            "server": self.server,
            "PostgreSQL": self.postgres.server,
            "Valkey": self.valkey.server,
        }
        return {
            name: head.process.pid
            for name, head in (heads | self.workers).items()
            if head.process is not None and head.process.poll() is None
        }

    def _answers(self) -> bool:
        try:
            return httpx2.get(self.url + "/readyz", timeout=2).status_code == 200
        except httpx2.TransportError:
            return False

    def _command(
        self, name: str, arguments: Sequence[str], ready, own: Mapping[str, str] | None = None
    ) -> Server:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("REWARDSMITH_")},
            "PYTHONPATH": str(ROOT),
            "REWARDSMITH_HOME": str(self.folder / "home"),
            "REWARDSMITH_DATABASE_URL": self.postgres.admin_url,
            "REWARDSMITH_BROKER_URL": self.valkey.url,
            "REWARDSMITH_KEYS": "always",
            **RAISED,
            **(own or {}),
        }
        command = [sys.executable, "-m", "client.cli", *arguments]
        log = self.folder / f"{name}.log"
        return Server(command, ready, log, environment=environment)


@contextmanager
def open_house(processes: int = 1) -> Iterator[House]:
    """Start databases and a server of so many processes, without workers; end all of it in the end."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="rw-load-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "home").mkdir()
        postgres, valkey = Postgres(folder), Valkey(folder)
        for one in (postgres.server, valkey.server):
            one.start()
            stack.callback(one.stop)
            one.wait()
        migrations.upgrade(postgres.admin_url)
        store = open_store(postgres.admin_url)
        stack.callback(store.close)
        keys = [store.keys.create(f"owner-{n}")[1] for n in range(OWNERS)]
        house = House(folder, postgres, valkey, keys, store, processes)
        stack.callback(house.server.stop)
        stack.callback(house.stop_workers)
        house.server.start()
        house.server.wait()
        yield house


def children_of(pid: int) -> list[psutil.Process]:
    """Return all living processes below one."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
