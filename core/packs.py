"""Into how many processes trainings are split: as asked, or else as many as pay on a machine.

What a machine has was counted and measured by the preflight of the job, once, so that the answer stays
the same while results come in.
"""

from __future__ import annotations

from core.records import Preflight, Training

UNKNOWN_CORES = 2  # where no preflight has counted them
MEMBERS_PER_PACK = 2  # a pack of one is padded to two: splitting two members saves nobody time
PACK_BYTES = 512 * 1024**2  # what a training process takes besides its environments


def pack_count(training: Training, found: Preflight | None, members: int, others: int = 0) -> int:
    """Return into how many packs that many runs are split.

    No more than run at once, than leave every pack enough members to share its cost, and than fit
    into memory beside each other.

    Args:
        training: of the job; it may ask for a number.
        found:    what the machine has.
        members:  runs to be split.
        others:   packs that run beside these, and belong to the number that was asked for.
    """
    if training.packs:
        return max(1, training.packs - others)
    at_once = found.at_once if found is not None and found.at_once else UNKNOWN_CORES
    packs = min(at_once - others, members // MEMBERS_PER_PACK)
    if found is not None and found.memory_bytes:
        left = found.memory_bytes - members * training.envs * found.row_bytes
        packs = min(packs, left // PACK_BYTES - others)
    return max(1, packs)


def physics_threads(found: Preflight | None, packs: int) -> int:
    """Return how many threads each of so many packs may use to step its environments.

    Packs that wait for each other do not share the cores.
    """
    if found is None:
        return 1
    at_once = min(packs, found.at_once or packs)
    return max(1, found.cores // max(1, at_once))
