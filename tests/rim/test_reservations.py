"""What a question costs is counted before it is asked, and stays counted if whoever asks dies."""

from __future__ import annotations

from sqlalchemy import func, select

from core.storage.engine import reading
from core.storage.tables import reservations
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
