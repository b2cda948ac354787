"""What this machine gives its trainings: processors and memory, in a container its share of them."""

from __future__ import annotations

import math
import os
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return how many processes can compute at once here."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota, _, period = _read(_GROUP / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def free_memory_bytes() -> int:
    """Return how much memory can be taken now without swapping; 0 where the system does not say."""
    free = _available()
    most, used = _read(_GROUP / "memory.max"), _read(_GROUP / "memory.current")
    if most.isdecimal() and used.isdecimal():
        left = max(0, int(most) - int(used))
        free = min(free, left) if free else left
    return free


def _available() -> int:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""  # another system, or a container that hides it
