"""The machine that is measured on: what it is, and how busy it is with other things."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import psutil

QUIET = 0.25  # cores that others may use while we measure
_PACKAGES = ("numpy", "torch", "gymnasium", "mujoco", "stable_baselines3")


def describe() -> str:
    """Name processor, cores, memory and versions in one line."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{os.cpu_count()} × {_processor()}, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Foreign:
    """Measures how many cores others used since it was made; our ended children are not others."""

    def __init__(self) -> None:
        self._begun, self._busy, self._own = time.monotonic(), _busy(), _own()

    def cores(self) -> float:
        """Return the mean number of cores."""
        wall = max(1e-9, time.monotonic() - self._begun)
        return max(0.0, (_busy() - self._busy - (_own() - self._own)) / wall)


def wait_until_quiet(patience: float) -> float:
    """Wait until others use less than a quarter of a core, or until patience ends.

    Args:
        patience: seconds.

    Returns:
        cores that others used in the last second.
    """
    deadline = time.monotonic() + patience
    while True:
        foreign = Foreign()
        time.sleep(1.0)
        used = foreign.cores()
        if used < QUIET or time.monotonic() >= deadline:
            return used


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - times.guest)


def _own() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
