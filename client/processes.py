"""Child processes that end with us, and ending with our own parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

POLL_SECONDS = 0.5
GRACE_SECONDS = 6.0
RESTART_SECONDS = 2.0
ORPHAN_GRACE_SECONDS = 8.0  # beyond the time in which it ends by itself
PARENT = "REWARDSMITH_PARENT_PID"


def command(*arguments: str) -> list[str]:
    """Return the command line that runs `rewardsmith` with the same interpreter."""
    return [sys.executable, "-m", "client.cli", *arguments]


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child that is to end with this process."""
    return {**environment, PARENT: str(os.getpid())}


def end_with_parent(stop_seconds: float) -> None:
    """Watch the parent process from a thread; when it is gone, however it died, end this one.

    First as a polite signal would, so that a worker stores the answers that are on their way to it and
    gives its claims back, for which it has `stop_seconds`; long after that without asking.
    """
    # Told by name, because the parent may be gone before this process has come this far.
    parent = int(os.environ.get(PARENT, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(stop_seconds + ORPHAN_GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


@dataclass(slots=True)
class Child:
    """A command that should be running."""

    arguments: Sequence[str]
    process: subprocess.Popen[bytes]
    started_at: float


@dataclass(slots=True)
class Children:
    """Commands that are started together, started again when they die, and stopped together."""

    environment: Mapping[str, str]
    report: Callable[[str], None]
    keep: Sequence[int] = ()  # descriptors that they inherit
    grace_seconds: float = GRACE_SECONDS
    _children: list[Child] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, commands: Sequence[Sequence[str]]) -> None:
        """Start the commands and a thread that watches over them."""
        self._children = [Child(line, self._spawn(line), time.monotonic()) for line in commands]
        if self._children:
            threading.Thread(target=self._watch, name="children", daemon=True).start()

    def stop(self) -> None:
        """Ask every child to end, and kill those that do not within the grace."""
        self._stopping.set()
        with self._lock:
            stop_all([child.process for child in self._children], self.grace_seconds)

    def _spawn(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches us alone, and we stop the children in order.
        return subprocess.Popen(
            arguments,
            env=child_environment(self.environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self.keep,
        )

    def _watch(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            with self._lock:
                for child in self._children:
                    self._revive(child)

    def _revive(self, child: Child) -> None:
        code = child.process.poll()
        rested = time.monotonic() - child.started_at > RESTART_SECONDS
        if code is None or not rested or self._stopping.is_set():
            return
        name = " ".join(child.arguments[3:])
        self.report(f"`rewardsmith {name}` ended with code {code}; starting it again")
        child.process, child.started_at = self._spawn(child.arguments), time.monotonic()


def exit_on_sigterm() -> None:
    """Let SIGTERM unwind this process instead of ending it where it stands."""

    def leave(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough; we are on our way
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)


def stop_all(processes: Sequence[subprocess.Popen[bytes]], seconds: float = GRACE_SECONDS) -> None:
    """Ask processes to end, wait for all together, and kill the rest; after a Ctrl-C at once."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    deadline = time.monotonic() + seconds
    try:
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
