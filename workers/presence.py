"""A worker says every few seconds that it is there, so that people see who works."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from core.settings import Settings
from core.storage import Presence
from workers.carrying import Carrier

log = structlog.get_logger("rewardsmith.presence")

PERIOD_SECONDS = 5.0


def tell_until(carrier: Carrier, settings: Settings, queues: Sequence[str]) -> None:
    """Say so until the worker ends, and then that it has; a database that is away is waited for."""
    said = ""
    while True:
        try:
            if carrier.stopping.is_set():
                carrier.store.crew.sign_off(carrier.owner)
                return
            carrier.store.crew.report(
                Presence(carrier.owner, tuple(queues), carrier.most, carrier.busy, settings.device)
            )
            said = ""
        except Exception as error:  # noqa: BLE001
            # Nothing depends on it, and the next time may be better; it is said once.
            if str(error) != said:
                said = str(error)
                log.warning("presence not told", reason=said)
            if carrier.stopping.is_set():
                return
        carrier.stopping.wait(PERIOD_SECONDS)
