"""Into how many processes trainings are split: as asked, or else as many as pay on a machine.

What a machine has was counted and measured by the preflight of the job, once, so that the answer stays
the same while results come in.
"""

from __future__ import annotations

from core.records import Preflight, Training

UNKNOWN_CORES = 2  # where no preflight has counted them
MEMBERS_PER_PACK = 2  # a pack of one is padded to two: splitting two members saves nobody time
PACK_BYTES = 512 * 1024**2  # what a training process takes besides its environments


def pack_count(training: Training, found: Preflight | None, members: int) -> int:
    """Return into how many packs that many runs are split.

    No more than run at once, than leave every pack enough members to share its cost, and than fit
    into memory beside each other.
    """
    if training.packs:
        return training.packs
    at_once = found.at_once if found is not None and found.at_once else UNKNOWN_CORES
    packs = min(at_once, members // MEMBERS_PER_PACK)
    if found is not None and found.memory_bytes:
        left = found.memory_bytes - members * training.envs * found.row_bytes
        packs = min(packs, left // PACK_BYTES)
    return max(1, packs)


def physics_threads(found: Preflight | None, packs: int) -> int:
    """Return how many threads each of so many packs may use to step its environments."""
    cores = found.cores if found is not None and found.cores else 1
    return max(1, cores // max(1, packs))
