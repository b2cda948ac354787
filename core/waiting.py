"""Why a job is not being worked on, in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.records.kinds import JobStatus


@dataclass(frozen=True, slots=True)
class Crew:
    """All living workers together: how many, with how many slots, and how many of those are busy."""

    workers: int = 0
    slots: int = 0
    busy: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that has not ended.

    Attributes:
        ahead:   queued and running jobs that were submitted before it, whoever owns them.
        in_hand: its steps that a living worker carries out.
        resting: why steps of it rest for a while, if any do.
    """

    status: JobStatus
    ahead: int
    in_hand: int
    resting: Sequence[str] = ()


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
    if crew.busy >= crew.slots:
        return f"all {crew.slots} slots are busy; {job.ahead} jobs are ahead"
    return "a worker is about to take it up"
