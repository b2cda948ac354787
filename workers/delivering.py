"""Webhooks: every second a worker sends what is due; a receiver that fails costs a job nothing."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import structlog

from core.errors import StorageFailed
from core.settings import Settings
from core.storage import Delivery, Store
from core.webhooks import Sent, body_of, headers_of, message_of, pause_after, send
from core.webhooks.sending import TOTAL_SECONDS

log = structlog.get_logger("rewardsmith.delivering")

PERIOD_SECONDS = 1.0
AT_ONCE = 4
LEASE_SECONDS = 6 * TOTAL_SECONDS  # resolving a name has no deadline of ours


def deliver_until(stopping: threading.Event, store: Store, settings: Settings) -> None:
    """Send what is due once a second until told to stop; a database that is away is waited for."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="deliver") as pool:
        while not stopping.wait(PERIOD_SECONDS):
            try:
                while deliver_once(store, settings, pool) == AT_ONCE and not stopping.is_set():
                    pass  # there may be more
            except StorageFailed as error:
                log.warning("database away", reason=str(error))
            except Exception:
                # Whatever it is, the next second may be better, and nothing is lost by waiting.
                log.exception("not delivered")


def deliver_once(store: Store, settings: Settings, pool: ThreadPoolExecutor) -> int:
    """Take a few messages that are due and make one attempt at each; return how many there were."""
    taken = store.deliveries.take(AT_ONCE, LEASE_SECONDS)
    sent = pool.map(lambda one: _attempt(one, settings), taken)
    for one, answer in zip(taken, sent, strict=True):
        _settle(store, one, answer)
    return len(taken)


def _attempt(one: Delivery, settings: Settings) -> Sent:
    name = message_of(one.job_id, one.number)
    data = {"job_id": one.job_id, "number": one.number, "message": one.message, **one.data}
    body = body_of(one.kind, one.happened_at.isoformat(), data)
    headers = headers_of(one.webhook.secret, name, int(time.time()), body)
    return send(one.webhook.url, headers, body, settings.webhook_hosts)


def _settle(store: Store, one: Delivery, sent: Sent) -> None:
    entry = {"status": sent.status, "error": sent.error, "seconds": round(sent.seconds, 3)}
    if sent.delivered:
        store.deliveries.settle(one, "delivered", entry)
        return
    pause = None if sent.unwanted else pause_after(one.attempt, random.random)
    if pause is None:
        store.deliveries.settle(one, "failed", entry)
    else:
        store.deliveries.settle(one, "waiting", entry, pause)
    reason = sent.error or f"status {sent.status}"
    log.info("message not taken", job_id=one.job_id, number=one.number, reason=reason, again=pause)
