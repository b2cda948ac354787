"""The worker process around the steps: its consumer, and its end."""

from __future__ import annotations

import threading

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
