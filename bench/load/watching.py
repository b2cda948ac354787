"""How much the parts of the service use: cores over a while, memory, descriptors and threads now."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

MIB = 1 << 20


@dataclass
class Cores:
    """Measures the cores that each part and the whole machine used since it was made."""

    heads: Mapping[str, int]

    def __post_init__(self) -> None:
        """Begin."""
        self._begun, self._busy = time.monotonic(), _busy()
        self._before = {name: _spent(pid) for name, pid in self.heads.items()}

    def used(self) -> dict[str, float]:
        """Return the mean number of cores by part; `all` are those of the machine."""
        wall = time.monotonic() - self._begun
        found = {name: _spent(pid) - self._before[name] for name, pid in self.heads.items()}
        found["all"] = _busy() - self._busy
        return {name: round(seconds / wall, 2) for name, seconds in found.items()}


def _spent(head: int) -> float:
    """Return the seconds of processor time of a process, those below it, and those that ended there."""
    total = 0.0
    for process in _tree(head):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - times.guest)


def _tree(head: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(head)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True)
class Size:
    """What a process holds."""

    mebibytes: float
    descriptors: int
    threads: int


def size_of(pid: int) -> Size | None:
    """Return what a process holds at the moment; None if it has ended."""
    try:
        process = psutil.Process(pid)
        # Resident, shared or not: what is private to a zygote changes with every fork.
        memory = process.memory_info().rss
        return Size(round(memory / MIB, 1), process.num_fds(), process.num_threads())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def load_average() -> float:
    """Return the load average of the last minute: what else this machine does shows there."""
    return round(os.getloadavg()[0], 2)
