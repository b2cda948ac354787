"""What is kept of a training that is under way, so that whoever comes next need not start over.

In memory it is one `Trained` for each member, in the ledger one `Saved`, with artifacts for the bytes.
Members are saved together, but need not be equally far.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import NotFound, StorageFailed
from core.ports import Artifacts, PackOrder
from core.records.measured import Saved
from core.training.minutes import Member, Trained


def recall(order: PackOrder, artifacts: Artifacts) -> dict[Member, Trained]:
    """Return what an order's members can go on from; empty if they begin the rung anew."""
    if not order.saved:
        return {}
    try:
        return {m: _trained(order, order.saved[m], artifacts) for m in order.members}
    except (NotFound, StorageFailed):
        return {}  # bytes are gone or spoilt; the rung costs its time once more, and nothing else


def note(
    order: PackOrder, known: Mapping[Member, Trained], artifacts: Artifacts
) -> tuple[Saved, ...]:
    """Store the bytes of all members, and return the facts about them.

    A member of which nothing is known has not begun the rung.

    Raises:
        StorageFailed: the disk is full or not writable.
    """
    return tuple(_saved(order, m, known.get(m, Trained()), artifacts) for m in order.members)


def _trained(order: PackOrder, saved: Saved, artifacts: Artifacts) -> Trained:
    return Trained(
        snapshots=[(steps, artifacts.get(sha256)) for steps, sha256 in saved.snapshots],
        failure=saved.failure,
        curve=saved.curve,
        checkpoint=None if saved.checkpoint is None else artifacts.get(saved.checkpoint),
        env_steps=max(0, saved.env_steps - order.start_steps),
        seconds=saved.seconds,
        adapter=saved.adapter,
        backend=saved.backend,
    )


def _saved(order: PackOrder, member: Member, one: Trained, artifacts: Artifacts) -> Saved:
    living = one.failure is None and one.checkpoint is not None
    return Saved(
        stage=order.stage,
        arm=member[0],
        seed=member[1],
        rung=order.rung,
        env_steps=order.start_steps + one.env_steps,
        checkpoint=artifacts.put(one.checkpoint) if living and one.checkpoint else None,
        failure=one.failure,
        snapshots=tuple((at, artifacts.put(weights)) for at, weights in one.snapshots),
        curve=one.curve,
        seconds=one.seconds,
        adapter=one.adapter,
        backend=one.backend,
    )
