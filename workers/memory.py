"""How a worker's memory goes back to the machine."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE = 1 << 20  # bytes


def give_large_blocks_back(large: int = LARGE) -> bool:
    """Let what is at least so many bytes go back to the machine as soon as it is freed.

    Left to itself, glibc raises this limit to the largest block that was freed so far, up to 32 MiB,
    and keeps twice as much at the end of every thread's heap.  One film of 20 MiB then leaves a worker
    tens of MiB larger, for each thread that handles one, for as long as it lives (`docs/lab-log.md`).

    Returns:
        Whether this system has such a limit; a C library other than glibc sees to it by itself.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, large))
