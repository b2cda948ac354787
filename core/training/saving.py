"""What is kept of a training that is under way, so that whoever comes next need not start over.

In memory it is a `Halfway`, in the ledger one `Saved` per member, with artifacts for the bytes.
"""

from __future__ import annotations

from core.errors import NotFound, StorageFailed
from core.ports import Artifacts, PackOrder
from core.records import Saved
from core.training.minutes import Halfway, Member, Trained


def recall(order: PackOrder, artifacts: Artifacts) -> Halfway | None:
    """Return what an order's members can go on from, or None: then they begin the rung anew."""
    if not order.saved:
        return None
    steps = max(saved.env_steps for saved in order.saved.values())
    try:
        members = {m: _trained(order.saved[m], artifacts) for m in order.members}
    except (NotFound, StorageFailed):
        return None  # bytes are gone or spoilt; the rung costs its time once more, and nothing else
    return Halfway(steps, members)


def note(order: PackOrder, halfway: Halfway, artifacts: Artifacts) -> tuple[Saved, ...]:
    """Store the bytes of all members, and return the facts about them.

    Raises:
        StorageFailed: the disk is full or not writable.
    """
    return tuple(
        _saved(order, member, halfway.steps, halfway.members[member], artifacts)
        for member in order.members
    )


def _trained(saved: Saved, artifacts: Artifacts) -> Trained:
    return Trained(
        snapshots=[(steps, artifacts.get(sha256)) for steps, sha256 in saved.snapshots],
        failure=saved.failure,
        curve=saved.curve,
        checkpoint=None if saved.checkpoint is None else artifacts.get(saved.checkpoint),
        env_steps=saved.own_steps,
        seconds=saved.seconds,
    )


def _saved(
    order: PackOrder, member: Member, steps: int, one: Trained, artifacts: Artifacts
) -> Saved:
    living = one.failure is None and one.checkpoint is not None
    return Saved(
        stage=order.stage,
        arm=member[0],
        seed=member[1],
        rung=order.rung,
        env_steps=steps,
        checkpoint=artifacts.put(one.checkpoint) if living and one.checkpoint else None,
        failure=one.failure,
        snapshots=tuple((at, artifacts.put(weights)) for at, weights in one.snapshots),
        curve=one.curve,
        seconds=one.seconds,
        own_steps=one.env_steps,
    )
