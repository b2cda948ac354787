"""Why a job is not being worked on, in words for people."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.records.kinds import JobStatus


@dataclass(frozen=True, slots=True)
class Worker:
    """A living worker: which queues it serves, with how many slots, and how many of those are busy."""

    queues: tuple[str, ...]
    slots: int
    busy: int


@dataclass(frozen=True, slots=True)
class Crew:
    """Living workers together."""

    members: tuple[Worker, ...] = ()

    @property
    def workers(self) -> int:
        """Return how many there are."""
        return len(self.members)

    @property
    def slots(self) -> int:
        """Return how many slots they have."""
        return sum(one.slots for one in self.members)

    @property
    def busy(self) -> int:
        """Return how many of their slots are busy."""
        return sum(one.busy for one in self.members)

    def serving(self, queues: Collection[str]) -> Crew:
        """Return those who serve one of some queues."""
        return Crew(tuple(one for one in self.members if not set(queues).isdisjoint(one.queues)))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that has not ended.

    Attributes:
        ahead:   queued and running jobs that were submitted before it, whoever owns them.
        in_hand: its steps that a living worker carries out.
        resting: why steps of it rest for a while, if any do.
        needs:   queues of its steps that were announced and that nobody has taken; empty if none is
            known to be.
    """

    status: JobStatus
    ahead: int
    in_hand: int
    resting: Sequence[str] = ()
    needs: Sequence[str] = ()


def why_waiting(job: Waiting, crew: Crew) -> str | None:
    """Return what a job waits for; None while somebody works on it.

    >>> why_waiting(Waiting("queued", 2, 0), Crew())
    'no worker runs; start one with `rewardsmith worker` or `rewardsmith serve`'
    """
    if job.in_hand:
        return None
    if job.status == "paused":
        return "it is paused; resume it when you like"
    if job.status == "awaiting_feedback":
        return "it waits for your feedback"
    if job.resting:
        return job.resting[0]
    if not crew.workers:
        return "no worker runs; start one with `rewardsmith worker` or `rewardsmith serve`"
    able = crew.serving(job.needs) if job.needs else crew
    if not able.workers:
        return _unserved(job.needs)
    if able.busy >= able.slots:
        return f"all {able.slots} slots are busy; {job.ahead} jobs are ahead"
    return "a worker is about to take it up"


def _unserved(queues: Sequence[str]) -> str:
    """Say what helps where nobody serves what a job needs."""
    named = " or ".join(queues)
    return (
        f"no worker serves the queue {named}, which its next step needs; "
        f"start one with `rewardsmith worker --queues {','.join(queues)}`"
    )
