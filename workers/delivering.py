"""Webhooks: every second a worker sends what is due; a receiver that fails costs a job nothing.

Owners take turns, and a few messages of each are under way at most: whoever has a slow receiver, or
many messages, keeps nobody else waiting.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from core.errors import StorageFailed
from core.records.kinds import Json
from core.settings import Settings
from core.storage import Delivery, Store
from core.webhooks import Sent, body_of, headers_of, message_of, pause_after, send
from core.webhooks.sending import TOTAL_SECONDS
from workers.turns import Turns

log = structlog.get_logger("rewardsmith.delivering")

PERIOD_SECONDS = 1.0
AT_ONCE = 8
MOST_OF_ONE = 2  # messages of one owner that a worker has under way
LEASE_SECONDS = 6 * TOTAL_SECONDS  # resolving a name has no deadline of ours


def deliver_until(stopping: threading.Event, store: Store, settings: Settings) -> None:
    """Send what is due until told to stop; a database that is away is waited for."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="deliver") as pool:
        sender = Sender(store, settings, pool, stopping)
        while not stopping.wait(PERIOD_SECONDS):
            try:
                sender.look()
            except StorageFailed as error:
                log.warning("database away", reason=str(error))
            except Exception:
                # Whatever it is, the next second may be better, and nothing is lost by waiting.
                log.exception("not delivered")


@dataclass(slots=True)
class Sender:
    """Has threads send messages, each one after another while somebody's turn can come."""

    store: Store
    settings: Settings
    pool: ThreadPoolExecutor
    stopping: threading.Event
    _turns: Turns = field(default_factory=lambda: Turns(MOST_OF_ONE))
    _working: list[Future[int]] = field(default_factory=list)

    def look(self) -> list[Future[int]]:
        """Let idle threads send what is due; return what they do, each in the end how many it sent."""
        owners = self.store.deliveries.owners_due()
        self._turns.renew(owners)
        self._working = [work for work in self._working if not work.done()]
        idle = AT_ONCE - len(self._working)
        begun = [self.pool.submit(self._work) for _ in range(min(idle, MOST_OF_ONE * len(owners)))]
        self._working += begun
        return begun

    def _work(self) -> int:
        sent = 0
        try:
            while not self.stopping.is_set() and (owner := self._turns.begin()) is not None:
                sent += self._send_one(owner)
        except StorageFailed as error:
            log.warning("database away", reason=str(error))
        except Exception:
            log.exception("not delivered")
        return sent

    def _send_one(self, owner: str) -> bool:
        """Make one attempt at a message of an owner's; False where none is due any more."""
        found = False
        try:
            one = self.store.deliveries.take(owner, LEASE_SECONDS)
            found = one is not None
            if one is not None:
                _settle(self.store, one, _attempt(one, self.settings))
        finally:
            self._turns.end(owner, more=found)
        return found


def _attempt(one: Delivery, settings: Settings) -> Sent:
    name = message_of(one.job_id, one.number)
    data = {"job_id": one.job_id, "number": one.number, "message": one.message, **one.data}
    body = body_of(one.kind, one.happened_at.isoformat(), data)
    headers = headers_of(one.webhook.secret, name, int(time.time()), body)
    return send(one.webhook.url, headers, body, settings.webhook_hosts, TOTAL_SECONDS)


def _settle(store: Store, one: Delivery, sent: Sent) -> None:
    entry = _entry(sent.status, sent.error, sent.seconds)
    if sent.delivered:
        store.deliveries.settle(one, "delivered", entry)
        return
    pause = None if sent.unwanted else _pause_after(one.attempt)
    if pause is None:
        store.deliveries.settle(one, "failed", entry)
    else:
        store.deliveries.settle(one, "waiting", entry, pause)
    if sent.late:  # and so would be all the others, one after another
        untried = _entry(None, f"not tried, for the host gave {sent.error}", 0.0)
        store.deliveries.rest(one, untried, _pause_after)
    reason = sent.error or f"status {sent.status}"
    log.info("message not taken", job_id=one.job_id, number=one.number, reason=reason, again=pause)


def _entry(status: int | None, error: str, seconds: float) -> Json:
    return {"status": status, "error": error, "seconds": round(seconds, 3)}


def _pause_after(attempts: int) -> float | None:
    return pause_after(attempts, random.random)
