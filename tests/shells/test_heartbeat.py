"""How a claim is kept, and when its owner stops."""

from __future__ import annotations

import threading
import time

import pytest

from core.errors import (
    ClaimLost,
    RewardsmithError,
    StepInterrupted,
    StorageFailed,
    WorkerStopping,
)
from core.ports import Progress
from tests.rim.storing import until
from workers.heartbeat import PATIENCE, Heartbeat

HALF = Progress("training", 1, 2)


class Scripted:
    """A claim whose renewals do as the test says, the last act again and again."""

    def __init__(self, *acts):
        self.acts, self.heard = list(acts), []

    def beat(self, progress):
        self.heard.append(progress)
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        if isinstance(act, Exception):
            raise act
        if act is not None:
            act()


def a_heartbeat(*acts, lease=0.5, stopping=None):
    claim = Scripted(*acts)
    return claim, Heartbeat(claim, stopping or threading.Event(), lease, patience_seconds=7.0)


def stopped(watch):
    """Return what stops the step, as soon as something does."""

    def asked():
        try:
            watch(HALF)
        except RewardsmithError as error:
            return error
        return None

    return until(asked)


def test_a_step_that_says_nothing_for_long_keeps_its_claim():
    claim, heartbeat = a_heartbeat(None)
    with heartbeat:
        until(lambda: len(claim.heard) >= 10)  # two leases, and nobody called the watch


def test_what_is_told_of_the_progress_goes_with_the_next_renewal():
    claim, heartbeat = a_heartbeat(None)
    with heartbeat as watch:
        watch(HALF)
        until(lambda: HALF in claim.heard)


def test_a_database_that_is_away_for_a_moment_ends_nothing():
    claim, heartbeat = a_heartbeat(StorageFailed("it restarts"), None)
    with heartbeat as watch:
        until(lambda: len(claim.heard) >= 4)
        watch(HALF)


def test_a_database_that_stays_away_ends_the_step_before_its_lease_is_over():
    _, heartbeat = a_heartbeat(StorageFailed("it is gone"), lease=1.0)
    begun = time.monotonic()
    with heartbeat as watch:
        assert isinstance(stopped(watch), ClaimLost)
    assert time.monotonic() - begun >= 1.0 * PATIENCE


def test_a_renewal_that_hangs_ends_the_step_as_well():
    answered = threading.Event()
    _, heartbeat = a_heartbeat(lambda: answered.wait(30), lease=0.3)
    with heartbeat as watch:
        error = stopped(watch)
        assert isinstance(error, ClaimLost)
        assert "could not be renewed" in str(error)
        answered.set()


def test_a_lease_counts_from_before_the_question_and_not_from_the_answer():
    """A renewal that was under way for longer than the lease proves nothing of the present."""
    release = threading.Event()
    claim, heartbeat = a_heartbeat(lambda: release.wait(30), StorageFailed("gone"), lease=0.3)
    with heartbeat as watch:
        assert isinstance(stopped(watch), ClaimLost)
        release.set()
        until(lambda: len(claim.heard) >= 2)
        assert isinstance(stopped(watch), ClaimLost)


def test_a_lease_counts_from_before_the_claim_was_asked_for():
    long_ago = time.monotonic() - 60.0
    heartbeat = Heartbeat(Scripted(None), threading.Event(), lease_seconds=30.0, since=long_ago)
    with pytest.raises(ClaimLost, match="could not be renewed"):
        heartbeat(HALF)


@pytest.mark.parametrize("error", [ClaimLost("another owns it"), StepInterrupted("cancelled")])
def test_what_the_database_says_of_the_claim_stops_the_step(error):
    _, heartbeat = a_heartbeat(error)
    with heartbeat as watch:
        assert stopped(watch) is error


def test_a_worker_that_is_being_stopped_stops_the_step_at_once():
    stopping = threading.Event()
    _, heartbeat = a_heartbeat(None, stopping=stopping)
    with heartbeat as watch:
        stopping.set()
        with pytest.raises(WorkerStopping, match="goes on elsewhere") as told:
            watch(HALF)
        assert told.value.patience_seconds == 7.0


def test_a_worker_that_is_being_stopped_hears_that_its_claim_is_lost():
    """What it still waits for is worth something only as long as nobody else has the step."""
    stopping = threading.Event()
    stopping.set()
    _, heartbeat = a_heartbeat(ClaimLost("another owns it"), stopping=stopping)
    with heartbeat as watch:
        until(lambda: isinstance(stopped(watch), ClaimLost))


def test_nothing_is_renewed_after_the_step():
    claim, heartbeat = a_heartbeat(None)
    with heartbeat:
        until(lambda: claim.heard)
    count = len(claim.heard)
    assert not heartbeat._thread.is_alive()
    assert len(claim.heard) == count
