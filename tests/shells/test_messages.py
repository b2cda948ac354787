"""What travels through a real broker, and what becomes of it: on a folder and on Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from amqp.exceptions import ChannelError
from kombu.simple import SimpleQueue
from sqlalchemy import text

from core.settings import Settings
from core.storage import Store
from tests.builders import a_preflight, a_spec
from tests.stack import valkey_url
from workers.folder_broker import Channel
from workers.messages import dispatch, make_celery
from workers.sweep import Sweep


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with valkey_url() as url:
        yield url


@pytest.fixture(params=["filesystem", pytest.param("valkey", marks=pytest.mark.slow)])
def celery(request, tmp_path: Path):
    broker = "filesystem://" if request.param == "filesystem" else "valkey"
    if broker == "valkey":
        broker = request.getfixturevalue("valkey")
    app = make_celery(Settings(home=tmp_path / "home", broker_url=broker))
    with app.connection_for_write() as connection:
        for name in ("design", "train"):
            queue = SimpleQueue(connection, name)
            queue.clear()
            queue.close()
    yield app
    app.close()


def messages(celery, name: str) -> list[list[str]]:
    """Take every message from a queue and return the arguments of each."""
    found = []
    with celery.connection_for_read() as connection:
        queue = SimpleQueue(connection, name)
        for _ in range(_size(queue)):
            message = queue.get(timeout=5)
            found.append(message.payload[0])
            message.ack()
        queue.close()
    return found


def _size(queue: SimpleQueue) -> int:
    try:
        return queue.qsize()
    except ChannelError:
        return 0  # Valkey keeps no empty lists


@pytest.fixture
def job_id(store: Store) -> str:
    job, _ = store.create_job(
        a_spec(), idempotency_key=None, body_sha256="0" * 64, name=None, labels={}
    )
    return job.id


def test_a_message_carries_ids_only_and_goes_where_the_step_is_done(celery, store, job_id):
    assert dispatch(store, celery, job_id) == 1
    assert messages(celery, "train") == [[job_id, "preflight"]]
    assert messages(celery, "design") == []


def test_steps_that_wait_for_models_and_steps_that_use_cores_go_different_ways(
    celery, store, job_id
):
    with store.claim(job_id, "preflight", "somebody", 60) as claim:
        claim.add_preflight(a_preflight())
    assert dispatch(store, celery, job_id) == 2
    assert messages(celery, "train") == [[job_id, "baseline"]]
    assert messages(celery, "design") == [[job_id, "propose/0"]]


def test_however_often_a_step_is_looked_at_it_is_announced_once(celery, store, job_id):
    assert [dispatch(store, celery, job_id) for _ in range(5)] == [1, 0, 0, 0, 0]
    assert Sweep(store, celery).once() == 0
    assert len(messages(celery, "train")) == 1


def test_what_somebody_works_on_is_not_announced(celery, store, job_id):
    claim = store.claim(job_id, "preflight", "somebody", 60)
    assert Sweep(store, celery).once() == 0
    claim.release()
    assert Sweep(store, celery).once() == 1


def test_a_cancelled_job_is_announced_no_more(celery, store, job_id):
    store.request_cancel(job_id)
    assert Sweep(store, celery).once() == 0
    assert messages(celery, "train") == []


def test_a_job_that_cannot_be_read_does_not_keep_the_sweep_from_the_others(celery, store, job_id):
    younger, _ = store.create_job(
        a_spec(), idempotency_key=None, body_sha256="0" * 64, name=None, labels={}
    )
    with store._engine.begin() as connection:
        connection.execute(
            text("UPDATE jobs SET spec = :nothing WHERE id = :id"), {"nothing": "{}", "id": job_id}
        )
    assert Sweep(store, celery).once() == 1
    assert messages(celery, "train") == [[younger.id, "preflight"]]


def test_a_message_in_the_folder_is_whole_whenever_it_can_be_seen(tmp_path):
    app = make_celery(Settings(home=tmp_path / "home"))
    folder, payload = tmp_path / "home" / "broker" / "messages", {"body": "x" * 200_000}
    with app.connection_for_write() as connection, ThreadPoolExecutor(1) as pool:
        channel = connection.default_channel
        assert type(channel) is Channel
        writing = pool.submit(lambda: [channel._put("train", payload) for _ in range(100)])
        sizes = set()
        while not writing.done() or not sizes:
            sizes |= {path.stat().st_size for path in folder.glob("*.train.msg")}
    assert len(sizes) == 1
    assert len(list(folder.iterdir())) == 100
