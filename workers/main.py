"""The worker process: one Celery consumer whose threads supervise jailed children.

The threads only wait: everything that needs a core runs in a child of the sandbox.  Threads instead of
forks mean that there is one process to kill, and nothing that survives it.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

import structlog
from celery import Celery, signals

from core.errors import ConfigurationError
from core.settings import Settings
from core.storage import Store, open_store
from workers.carrying import Carrier
from workers.logs import configure_logs
from workers.messages import CARRY_OUT, QUEUES, dispatch, make_celery
from workers.sweep import sweep_until
from workers.tidying import tidy_until
from workers.toolbox import Bench, open_bench

log = structlog.get_logger("rewardsmith.worker")


def run(
    settings: Settings,
    queues: Sequence[str] = QUEUES,
    slots: int = 1,
    alive_file: Path | None = None,
) -> None:
    """Serve the queues until the process is told to stop.

    Args:
        settings:   of this machine.
        queues:     which kinds of step to take: "design", "train".
        slots:      how many steps at a time.
        alive_file: touched every second while all is well, for a health check.

    Raises:
        ConfigurationError: an unknown queue, or no slot.
        StorageFailed: the database cannot be reached or is not migrated.
        ZygoteFailed: the sandbox cannot be started.
    """
    _check(queues, slots)
    configure_logs(settings.log_level)
    store = open_store(settings.database_url)
    store.check_schema()
    bench = open_bench(settings, trains="train" in queues, slots=slots)
    carrier = Carrier(store, bench, owner_name(), settings.lease_seconds)
    celery = make_celery(settings)
    _register(celery, carrier)
    _sweep_while_running(celery, store, carrier.stopping, bench, alive_file)
    _tidy_while_running(settings, store, carrier.stopping)
    log.info("worker starts", owner=carrier.owner, queues=list(queues), slots=slots)
    celery.worker_main(
        [
            "worker",
            "--pool=threads",
            f"--concurrency={slots}",
            f"--queues={','.join(queues)}",
            f"--hostname={carrier.owner}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )


def _check(queues: Sequence[str], slots: int) -> None:
    unknown = [name for name in queues if name not in QUEUES]
    if unknown or not queues:
        raise ConfigurationError(f"queues {list(queues)}", expected=f"some of {list(QUEUES)}")
    if slots < 1:
        raise ConfigurationError(f"{slots} slots", expected="at least one")


def owner_name() -> str:
    """Name this process so that no other, on any machine, has the same name."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


def _register(celery: Celery, carrier: Carrier) -> None:
    @celery.task(name=CARRY_OUT)
    def carry_out(job_id: str, key: str) -> None:
        if carrier.carry_out(job_id, key):
            dispatch(carrier.store, celery, job_id)


def _tidy_while_running(settings: Settings, store: Store, stopping: threading.Event) -> None:
    threading.Thread(
        target=tidy_until, args=(stopping, store, settings), name="tidy", daemon=True
    ).start()


def _sweep_while_running(
    celery: Celery,
    store: Store,
    stopping: threading.Event,
    bench: Bench,
    alive_file: Path | None,
) -> None:
    sweeper = threading.Thread(
        target=sweep_until, args=(stopping, store, celery, alive_file), name="sweep", daemon=True
    )

    @signals.worker_ready.connect(weak=False)
    def start(**_: object) -> None:
        sweeper.start()

    @signals.worker_shutting_down.connect(weak=False)
    def stop(**_: object) -> None:
        # Running steps notice within a second, give their claims back, and kill their children.
        stopping.set()

    @signals.worker_shutdown.connect(weak=False)
    def close(**_: object) -> None:
        bench.sandbox.close()
