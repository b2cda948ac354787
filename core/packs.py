"""Into how many packs trainings are split: as asked, or else as many as pay on a machine.

What a machine has was counted and measured by the preflight of the job, once, so that the answer stays
the same while results come in.
"""

from __future__ import annotations

from math import ceil

from core.records.measured import Preflight
from core.records.spec import Training

OF_OBJECTS = "gymnasium"  # the adapter whose rows are Python objects, one each
ROWS_OF_OBJECTS = 128  # more in a process leave the cache: 4.4 times as long for 4 times as many

UNKNOWN_CORES = 2  # where no preflight has counted them
MEMBERS_PER_PACK = 2  # a pack of one is padded to two: splitting two members saves nobody time
PACK_BYTES = 512 * 1024**2  # what a training process takes besides its environments


def pack_count(training: Training, found: Preflight | None, members: int, others: int = 0) -> int:
    """Return into how many packs that many runs are split.

    No more than run at once, than leave every pack enough members to share its cost, and than fit
    into memory beside each other; of those, one after another, as many as `waves` says.

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
    packs = max(1, packs)
    adapter = found.adapter if found is not None else ""
    return packs * waves(adapter, ceil(members / packs) * training.envs)


def waves(adapter: str, rows: int) -> int:
    """Return into how many packs, one after another, a process' share of the rows is better split."""
    return max(1, ceil(rows / ROWS_OF_OBJECTS)) if adapter == OF_OBJECTS else 1


def physics_threads(found: Preflight | None, packs: int) -> int:
    """Return how many threads each of so many packs may use to step its environments.

    Packs that wait for each other do not share the cores.
    """
    if found is None:
        return 1
    at_once = min(packs, found.at_once or packs)
    return max(1, found.cores // max(1, at_once))
