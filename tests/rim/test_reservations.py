"""What a question costs is counted before it is asked, and stays counted if whoever asks dies."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from core.errors import ClaimLost, StorageFailed
from core.loop import Propose, next_steps
from core.records.asking import Reply, Usage
from core.records.kinds import NATIVE
from core.records.spec import Budget
from core.storage.engine import reading
from core.storage.tables import reservations
from tests.builders import a_preflight, a_run, a_spec
from tests.rim.storing import SHORT, a_claim, a_job, an_exchange, until

ASK = (0, 0, 0)
COST = (1_600, 0.02)


def spent(store, job):
    found = store.job(job.id).spent
    return found.tokens, round(found.money, 6)


def open_ones(engine):
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(reservations)).scalar_one()


def test_a_question_is_counted_before_it_is_asked(store):
    job = a_job(store)
    a_claim(store, job.id).reserve(*ASK, *COST)
    assert spent(store, job) == COST
    assert store.history(job.id).spent.tokens == COST[0]


def test_an_answer_is_counted_in_place_of_what_was_set_aside(store, engine):
    job = a_job(store)
    claim = a_claim(store, job.id)
    claim.reserve(*ASK, *COST)
    claim.add_exchange(an_exchange())
    assert spent(store, job) == (120, 0.0)
    assert open_ones(engine) == 0


def test_a_question_that_was_certainly_not_paid_for_is_counted_no_more(store, engine):
    job = a_job(store)
    claim = a_claim(store, job.id)
    claim.reserve(*ASK, *COST)
    claim.unreserve(*ASK)
    assert spent(store, job) == (0, 0.0)
    assert open_ones(engine) == 0


def test_a_worker_that_dies_between_question_and_answer_leaves_it_counted(store, engine):
    """Its answer may have been paid for; the next worker asks anew, and both are counted."""
    job = a_job(store)
    a_claim(store, job.id, lease=SHORT).reserve(*ASK, *COST)
    heir = until(lambda: store.claim(job.id, "propose/0", "second", 60.0))
    heir.reserve(*ASK, *COST)
    heir.add_exchange(an_exchange())
    assert spent(store, job) == (1_600 + 120, 0.02)
    assert open_ones(engine) == 1


def test_setting_aside_twice_counts_once(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    claim.reserve(*ASK, *COST)
    claim.reserve(*ASK, *COST)
    assert spent(store, job) == COST


def ready(store, **spec):
    """A job of which nothing is missing before its first proposal."""
    job = a_job(store, a_spec(**spec))
    with a_claim(store, job.id, "preflight") as step:
        step.add_preflight(a_preflight())
    with a_claim(store, job.id, "baseline") as step:
        step.add_runs([a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in range(2)], {})
    return job


def dear(tokens):
    return replace(an_exchange(), reply=Reply("hi", usage=Usage(1_000, tokens - 1_000)))


def test_an_answer_that_used_up_the_budget_becomes_a_candidate_though_its_worker_died(store):
    job = ready(store, budget=Budget(tokens=20_000))
    claim = a_claim(store, job.id, lease=SHORT)
    claim.reserve(*ASK, *COST)
    claim.add_exchange(dear(20_500))
    until(lambda: not store.history(job.id).claimed)
    assert next_steps(store.history(job.id)) == (Propose(0),)
    assert store.job(job.id).iteration == 0


def taken_by_another(store, job):
    """Let go of a step with a question on its way; return the one who asked, and who has it now."""
    late = a_claim(store, job.id)
    late.reserve(*ASK, *COST)
    late.release()
    other = a_claim(store, job.id, owner="another")
    other.reserve(*ASK, *COST)
    return late, other


def test_an_answer_that_comes_after_another_took_the_step_is_counted_at_its_true_cost(store):
    job = ready(store)
    late, other = taken_by_another(store, job)
    for _ in range(2):  # told twice, counted once
        with pytest.raises(ClaimLost):
            late.add_exchange(replace(dear(40_000), money=0.5))
    assert spent(store, job) == (40_000 + COST[0], 0.5 + COST[1])
    other.add_exchange(an_exchange())
    assert spent(store, job) == (40_000 + 120, 0.5)
    assert len(store.exchanges(job.id)) == 1


def test_an_answer_that_comes_after_the_end_is_counted_at_its_true_cost(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    claim.reserve(*ASK, *COST)
    store.request_cancel(job.id)
    claim.release()
    with pytest.raises(ClaimLost):
        claim.add_exchange(dear(40_000))
    assert spent(store, job) == (40_000, 0.0)
    assert store.exchanges(job.id) == ()


def test_what_was_certainly_not_paid_for_is_counted_no_more_though_another_took_the_step(store):
    job = ready(store)
    late, _ = taken_by_another(store, job)
    late.unreserve(*ASK)
    assert spent(store, job) == COST  # that of the other


@contextmanager
def away(engine, words, times=None):
    """Let the database go away when a statement holds certain words, so often or always."""
    gone = []

    def goes(connection, cursor, statement, parameters, context, executemany):
        if words in statement and len(gone) != times:
            gone.append(statement)
            raise OperationalError(statement, parameters, Exception("the server went away"))

    event.listen(engine, "before_cursor_execute", goes)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", goes)
    assert gone


def test_an_answer_is_stored_when_the_database_is_back(store, monkeypatch):
    monkeypatch.setattr("core.storage.ledger.AGAIN_SECONDS", 0.01)
    job = a_job(store)
    claim = a_claim(store, job.id)
    claim.reserve(*ASK, *COST)
    with away(store._engine, "INTO exchanges", times=3):
        claim.add_exchange(an_exchange())
    assert len(store.exchanges(job.id)) == 1
    assert spent(store, job) == (120, 0.0)


def test_a_reservation_is_taken_back_when_the_database_is_back(store, monkeypatch):
    monkeypatch.setattr("core.storage.ledger.AGAIN_SECONDS", 0.01)
    job = a_job(store)
    claim = a_claim(store, job.id)
    claim.reserve(*ASK, *COST)
    with away(store._engine, "DELETE FROM reservations", times=3):
        claim.unreserve(*ASK)
    assert spent(store, job) == (0, 0.0)


def test_a_database_that_stays_away_is_waited_for_no_longer_than_a_lease(store, monkeypatch):
    monkeypatch.setattr("core.storage.ledger.AGAIN_SECONDS", 0.01)
    claim = a_claim(store, a_job(store).id, lease=SHORT)
    with away(store._engine, "INTO exchanges"), pytest.raises(StorageFailed, match="went away"):
        claim.add_exchange(an_exchange())


def test_a_question_that_nobody_answered_begins_no_iteration(store):
    """An endpoint that is away for days does not keep a job from ending when its time is over."""
    job = ready(store)
    with a_claim(store, job.id) as claim:
        claim.reserve(*ASK, *COST)
        claim.unreserve(*ASK)
    assert store.history(job.id).iterations == ()
    assert store.job(job.id).iteration == -1
