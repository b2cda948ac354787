"""A worker says that it is there, and that it goes."""

from __future__ import annotations

import threading

import pytest

from core.errors import StorageFailed
from core.settings import Settings
from core.storage import open_store
from tests.stack import eventually
from workers.carrying import Carrier
from workers.presence import tell_until


@pytest.fixture
def telling(tmp_path):
    """Let a carrier tell of itself until it is stopped."""
    threads = []

    def start(carrier):
        settings = Settings(home=tmp_path, device="cpu")
        thread = threading.Thread(target=tell_until, args=(carrier, settings, ("train",)))
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_it_is_there_with_its_slots_until_it_ends(store, telling):
    carrier = Carrier(store, None, "box-1", 15.0, most=2)
    carrier.doing.add(("job", "train/0/0/0"))
    thread = telling(carrier)
    eventually(store.crew.workers, 10, "the worker")
    (worker,) = store.crew.workers()
    assert (worker.name, worker.queues, worker.slots, worker.busy) == ("box-1", ("train",), 2, 1)
    carrier.stopping.set()
    thread.join(10)
    assert store.crew.workers() == ()


def test_a_database_that_is_away_keeps_no_worker_from_ending(tmp_path, telling):
    store = open_store(f"sqlite:///{tmp_path / 'nowhere' / 'never-migrated.db'}")
    with pytest.raises(StorageFailed):
        store.crew.workers()
    carrier = Carrier(store, None, "box-1", 15.0)
    thread = telling(carrier)
    carrier.stopping.set()
    thread.join(10)
    assert not thread.is_alive()
