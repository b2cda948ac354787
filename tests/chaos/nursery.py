"""Where the suite's workers and servers come from: a process that has imported everything, and forks.

A worker's own start takes a second and more of a core, most of it imports; two hundred kills would take
minutes of that alone.  What is forked here is the product's own code, from its start on.

Lines of JSON come in, {"start": "worker", "name": ..., "environment": {...}, ...}, and go out:
{"name": ..., "pid": ...} for every start, {"pid": ..., "signal": ..., "code": ...} for every death.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.chaos.children import die_with_parent

POLL_SECONDS = 0.02


def warm_up() -> None:
    """Import what the children use, without starting a thread or opening anything."""
    import celery.apps.worker
    import celery.bin.worker
    import celery.concurrency.thread
    import celery.worker.consumer
    import kombu.transport.filesystem
    import kombu.transport.redis
    import openai.resources.chat
    import psycopg.types
    import sqlalchemy.dialects.postgresql.psycopg
    import uvicorn.protocols.http.auto

    import api.main
    import client.server
    import core.designers.evolution
    import core.designers.openai
    import tests.chaos.mutations
    import tests.chaos.pretend
    import workers.main

    del celery, kombu, openai, psycopg, sqlalchemy, uvicorn, api, client, core, tests, workers


def main() -> None:
    warm_up()
    _say(ready=True)
    buffered = b""
    while True:
        ready, _, _ = select.select([0], [], [], POLL_SECONDS)
        if ready:
            data = os.read(0, 65_536)
            if not data:
                return
            buffered += data
            *lines, buffered = buffered.split(b"\n")
            for line in lines:
                _start(json.loads(line))
        _bury()


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        _say(pid=pid, signal=killed, code=None if killed else os.WEXITSTATUS(status))


def _say(**what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _start(told: dict[str, Any]) -> None:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        _say(name=told["name"], pid=pid)
        return
    code = 1
    try:
        _live(told)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  (whatever it is, this process ends here)
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _live(told: dict[str, Any]) -> None:
    die_with_parent()
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what is printed is part of the log, and never of our own lines
    os.environ.update(told["environment"])
    if shift := told.get("shift_seconds"):
        _shift_clock(shift)
    from tests.chaos import mutations

    mutations.apply(told.get("mutations", ()))
    if told["start"] == "worker":
        _work(told)
    else:
        _serve(told)


def _shift_clock(seconds: float) -> None:
    """Let this process believe in another time; it jumps forth and back every second."""
    real = time.time
    time.time = lambda: real() + seconds * (-1) ** (int(real()) % 2)  # type: ignore[assignment]


def _work(told: dict[str, Any]) -> None:
    from core.settings import read_settings
    from core.storage import endpoints, open_store
    from tests.chaos.pretend import open_pretend_bench
    from workers import carrying, main, messages, sweep

    messages.OFFER_SECONDS = 2.0
    sweep.PERIOD_SECONDS = 0.5
    carrying.STORAGE_REST_SECONDS = carrying.REST_SECONDS = 1.0
    endpoints.CLOSED_SECONDS = 1.0
    settings = read_settings()
    store = open_store(settings.database_url)
    bench: Any = open_pretend_bench(settings, store)
    main.run(settings, slots=told["slots"], bench=bench)


def _serve(told: dict[str, Any]) -> None:
    from client.server import listen, run_server
    from core.settings import read_settings

    run_server(read_settings(), listen("127.0.0.1", told["port"]), lambda: None)


class Nursery:
    """The suite's end of it; used by the main thread alone."""

    def __init__(self, log: Path) -> None:
        self.names: dict[int, str] = {}
        self.deaths: list[dict[str, Any]] = []
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._heard = b""
        self._scribe = threading.Thread(target=self._keep_logs, daemon=True)
        self._scribe.start()
        assert self._line(60) == {"ready": True}
        os.set_blocking(self._process.stdout.fileno(), False)

    def start(self, name: str, **told: Any) -> int:
        """Start a child and return its pid."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"name": name, **told}).encode() + b"\n")
        self._process.stdin.flush()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            line = self._line(1)
            if line is not None and line.get("name") == name:
                self.names[line["pid"]] = name
                return int(line["pid"])
            if line is not None:
                self.deaths.append(line)
        raise AssertionError("the nursery does not answer")

    def listen(self) -> list[dict[str, Any]]:
        """Return the deaths since the last call."""
        while (line := self._line(0)) is not None:
            self.deaths.append(line)
        news, self.deaths = self.deaths, []
        return news

    def _line(self, seconds: float) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._heard:
            left = max(0.0, until - time.monotonic())
            ready, _, _ = select.select([self._process.stdout], [], [], min(left, 0.1))
            if ready:
                data = os.read(self._process.stdout.fileno(), 65_536)
                assert data, "the nursery has died"
                self._heard += data
            elif left <= 0:
                return None
        line, _, self._heard = self._heard.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    def _keep_logs(self) -> None:
        # Through a pipe, because a limit on the size of files must not reach the log.
        assert self._process.stderr is not None
        while data := os.read(self._process.stderr.fileno(), 1 << 20):
            self._log.write(data)
            self._log.flush()

    def stop(self) -> None:
        self._process.kill()  # its children go with it
        self._process.wait()
        self._scribe.join(10)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._log.close()


if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
