"""The worker process around the steps: its consumer, and its end."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.stack import eventually, stack
from workers import main


class Consumers:
    """Celery's place: every consumer breaks at once but the last, which hears the wish to stop."""

    def __init__(self, broken, stopping):
        self.broken, self.stopping, self.started = broken, stopping, 0

    def worker_main(self, arguments):
        self.started += 1
        if self.started > self.broken:
            self.stopping.set()


def test_a_consumer_that_breaks_is_started_again_until_the_worker_is_told_to_stop(monkeypatch):
    monkeypatch.setattr(main, "CONSUMER_REST_SECONDS", 0.0)
    stopping = threading.Event()
    consumers = Consumers(2, stopping)
    main.consume(consumers, ["worker"], stopping)
    assert consumers.started == 3


def test_a_worker_that_ends_waits_for_answers_to_steps_that_nobody_holds_any_more():
    came = threading.Event()
    asking = threading.Thread(target=came.wait, name="propose_0", daemon=True)
    asking.start()
    assert main.await_answers(0.0) == 1
    came.set()
    assert main.await_answers(30.0) == 0


@pytest.mark.slow  # two processes, one of which waits for a broker that is not there
@pytest.mark.parametrize(
    "broker", ["filesystem://", "redis://127.0.0.1:1/0"], ids=["folder", "away"]
)
def test_a_worker_ends_politely_whenever_it_is_told_to(tmp_path, broker):
    """Also before Celery listens for the signal, and while its broker cannot be reached."""
    with stack(tmp_path / "home", broker_url=broker) as server:
        server.serve("--workers", "0")
        worker = server.worker("--queues", "design")
        log = server.home / "worker-1.log"
        eventually(lambda: "worker starts" in log.read_text(), 60, "the worker starts")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0, log.read_text()
