"""Steps that a worker finds in the database, because no broker told anybody of them."""

from __future__ import annotations

import threading

import pytest

from core.loop import KINDS, QUEUES
from core.settings import Settings
from core.storage import Store
from tests.fakes import PretendLaboratory
from tests.rim.storing import a_claim, a_job, until
from tests.shells.test_carrying import PretendBench
from workers.carrying import Carrier
from workers.crew import Crew
from workers.messages import BrokerAway, dispatch, make_celery
from workers.sweep import OTHERS, Sweep


@pytest.fixture
def no_broker(tmp_path):
    """A broker at whose address nobody listens."""
    app = make_celery(Settings(home=tmp_path, broker_url="redis://127.0.0.1:1/0"))
    yield app
    app.close()


@pytest.fixture
def deaf_broker(tmp_path):
    """A broker that takes every message, and whose messages nobody reads."""
    app = make_celery(Settings(home=tmp_path))
    yield app
    app.close()


def a_crew(store, celery, laboratory=None, queues=QUEUES, slots=2):
    bench = PretendBench(laboratory or PretendLaboratory(lambda arm, seed: 0.5))
    slots_ = threading.Semaphore(slots)
    return Crew(Carrier(store, bench, "me", 30.0, slots=slots_), celery, queues)


def test_without_a_broker_a_worker_does_whole_steps_from_the_database(store, no_broker):
    crew, job = a_crew(store, no_broker), a_job(store)
    assert Sweep(store, no_broker, crew).once() == 1
    until(lambda: store.history(job.id).preflight is not None)
    until(lambda: store.history(job.id).native)  # what follows is found by whoever did the first
    crew.carrier.stopping.set()
    crew.wait(30)


def test_a_step_that_was_announced_in_vain_is_done_by_whoever_notices(
    store, deaf_broker, monkeypatch
):
    monkeypatch.setattr("workers.messages.OFFER_SECONDS", 0.05)
    crew, job = a_crew(store, deaf_broker), a_job(store)
    assert Sweep(store, deaf_broker, crew).once() == 1
    assert store.history(job.id).preflight is None, "it was announced, and no more"
    until(lambda: Sweep(store, deaf_broker, crew).once())
    until(lambda: store.history(job.id).preflight is not None)
    crew.carrier.stopping.set()
    crew.wait(30)


def test_who_carries_nothing_out_says_that_nobody_was_told(store, no_broker):
    job = a_job(store)
    with pytest.raises(BrokerAway):
        dispatch(store, no_broker, job.id)
    assert until(lambda: store.offer(job.id, "preflight", 60)) == "again"


def test_a_broker_that_is_away_is_asked_once_in_a_sweep(store, no_broker, monkeypatch):
    asked = []
    monkeypatch.setattr("workers.messages.send", lambda *given: asked.append(given) or 1 / 0)
    for _ in range(5):
        a_job(store)
    assert Sweep(store, no_broker).once() == 0
    assert len(asked) == 1


def test_what_a_worker_finds_takes_no_more_slots_than_it_has(store, no_broker):
    go_on, begun = threading.Event(), []

    class Slow(PretendLaboratory):
        def preflight(self, *given, **more):
            begun.append(given)
            assert go_on.wait(30)
            return super().preflight(*given, **more)

    crew = a_crew(store, no_broker, Slow(lambda arm, seed: 0.5), slots=2)
    for _ in range(4):
        a_job(store)
    assert Sweep(store, no_broker, crew).once() == 2
    until(lambda: len(begun) == 2)
    assert not crew.take("train", a_job(store).id, "preflight")
    crew.carrier.stopping.set()
    go_on.set()
    crew.wait(30)
    assert len(begun) == 2


def test_a_worker_finds_only_what_its_queues_are_for(store, no_broker):
    crew, job = a_crew(store, no_broker, queues=("design",)), a_job(store)
    assert Sweep(store, no_broker, crew).once() == 0
    assert store.history(job.id).preflight is None


def test_a_worker_whose_slots_are_full_leaves_alone_what_waits_in_line(
    store, deaf_broker, monkeypatch
):
    monkeypatch.setattr("workers.messages.OFFER_SECONDS", 0.01)
    crew, sent = a_crew(store, deaf_broker, slots=1), []
    for _ in range(3):
        a_job(store)
    Sweep(store, deaf_broker, crew).once()
    until(lambda: len(store.unheard_jobs(["preflight"], 10)) == 3)
    monkeypatch.setattr("workers.messages.send", lambda *given: sent.append(given))
    assert crew.carrier.slots.acquire(blocking=False)
    assert Sweep(store, deaf_broker, crew).once() == 0
    assert sent == [], "more messages would only wait with the others"
    crew.carrier.slots.release()
    assert Sweep(store, deaf_broker, crew).once() == 1
    crew.carrier.stopping.set()
    crew.wait(30)


def test_however_long_the_line_is_a_sweep_looks_at_few_of_those_who_wait(
    store, deaf_broker, monkeypatch
):
    jobs, looks = [a_job(store, offer_seconds=60.0).id for _ in range(2 * OTHERS + 5)], []
    whole = Store.history
    monkeypatch.setattr(Store, "history", lambda self, job: looks.append(job) or whole(self, job))
    sweep, seen = Sweep(store, deaf_broker, a_crew(store, deaf_broker)), []
    for _ in range(3):
        sweep.once()
        assert len(looks) <= OTHERS
        seen += looks
        looks.clear()
    assert seen == jobs, "one after the other, all of them have their turn"


def test_a_lost_message_is_noticed_behind_any_number_of_older_jobs_that_wait_for_nothing(
    store, deaf_broker, monkeypatch
):
    """What was announced may not be wanted any more, and then nobody ever takes it."""
    monkeypatch.setattr("workers.sweep.PAGE", 3)
    for _ in range(7):
        old = a_job(store)
        a_claim(store, old.id, "preflight")
        store.offer(old.id, "confirm/0", 0.01)
    young = a_job(store)
    store.offer(young.id, "preflight", 0.01)
    until(lambda: len(store.unheard_jobs(KINDS, 10)) == 8)
    crew = a_crew(store, deaf_broker)
    sweep = Sweep(store, deaf_broker, crew)
    assert [sweep.once() for _ in range(3)] == [0, 0, 1], "two pages wait for nothing"
    until(lambda: store.history(young.id).preflight is not None)
    crew.carrier.stopping.set()
    crew.wait(30)


def test_of_those_who_wait_the_oldest_is_taken_whenever_there_is_a_slot(
    store, deaf_broker, monkeypatch
):
    monkeypatch.setattr("workers.sweep.PAGE", 2)
    jobs, taken = [a_job(store) for _ in range(5)], []
    for job in jobs:
        store.offer(job.id, "preflight", 0.01)
    until(lambda: len(store.unheard_jobs(KINDS, 10)) == 5)
    crew = a_crew(store, deaf_broker, slots=1)

    def take(self, queue, job_id, key):
        taken.append(job_id)
        return self.carrier.slots.acquire(blocking=False)

    monkeypatch.setattr(Crew, "take", take)
    sweep = Sweep(store, deaf_broker, crew)
    for _ in jobs:
        assert sweep.once() == 1
        crew.carrier.slots.release()
    assert taken == [job.id for job in jobs]
