"""The worker process: one Celery consumer whose threads supervise jailed children.

The threads only wait: everything that needs a core runs in a child of the sandbox.  Threads instead of
forks mean that there is one process to kill, and nothing that survives it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from celery import Celery, signals

from core.errors import ConfigurationError
from core.loop import QUEUES
from core.settings import Settings
from core.storage import Store, open_store
from workers.carrying import Carrier
from workers.crew import Crew
from workers.delivering import deliver_until
from workers.logs import configure_logs
from workers.memory import give_large_blocks_back
from workers.messages import CARRY_OUT, make_celery
from workers.presence import tell_until
from workers.sweep import Sweep, sweep_until
from workers.tidying import tidy_until
from workers.toolbox import Bench, open_bench

log = structlog.get_logger("rewardsmith.worker")

GIVE_BACK_SECONDS = 5.0
"""Of the time that a stopping worker has, kept for giving its claims back."""
AGAIN_SECONDS = 0.5
CONSUMER_REST_SECONDS = 1.0


def run(
    settings: Settings,
    queues: Sequence[str] = QUEUES,
    slots: int = 1,
    alive_file: Path | None = None,
    *,
    bench: Bench | None = None,
) -> None:
    """Serve the queues until the process is told to stop.

    Args:
        settings:   of this machine.
        queues:     which kinds of step to take: "design", "train".
        slots:      how many steps at a time.
        alive_file: touched every second while all is well, for a health check.
        bench:      what it works with; opened from the settings unless given.

    Raises:
        ConfigurationError: an unknown queue, no slot, or data where generated code could read it.
        StorageFailed: the database cannot be reached or is not migrated.
        ZygoteFailed: the sandbox cannot be started.
    """
    _check(queues, slots)
    configure_logs(settings.log_level)
    give_large_blocks_back()
    store = open_store(settings.database_url)
    store.check_schema()
    store.check_serves_all()
    bench = bench or open_bench(settings, store, trains="train" in queues, slots=slots)
    crew = _gather(settings, store, bench, queues, slots)
    stopping = crew.carrier.stopping
    end = End(settings.stop_seconds)
    _stop_in_time(crew.carrier, end)
    # Before the broker is reached: as long as it is away, the database is worked from.
    sweep = (stopping, Sweep(store, crew.celery, crew), alive_file)
    threading.Thread(target=sweep_until, args=sweep, name="sweep", daemon=True).start()
    for name, beside in (("tidy", tidy_until), ("deliver", deliver_until)):
        own = (stopping, store, settings)
        threading.Thread(target=beside, args=own, name=name, daemon=True).start()
    tell = (crew.carrier, settings, queues)
    threading.Thread(target=tell_until, args=tell, name="presence", daemon=True).start()
    log.info("worker starts", owner=crew.carrier.owner, queues=list(queues), slots=slots)
    consume(crew.celery, _arguments(crew.carrier.owner, queues, slots), stopping)
    crew.wait(settings.stop_seconds)  # a timer ends the process before, if it must
    bench.close()
    _end_unless_alone(end.left() - GIVE_BACK_SECONDS)


def _gather(
    settings: Settings, store: Store, bench: Bench, queues: Sequence[str], slots: int
) -> Crew:
    free = threading.Semaphore(slots)
    name, lease = owner_name(), settings.lease_seconds
    patience = max(0.0, settings.stop_seconds - GIVE_BACK_SECONDS)
    carrier = Carrier(store, bench, name, lease, slots=free, most=slots, patience_seconds=patience)
    crew = Crew(carrier, make_celery(settings), queues)
    crew.celery.task(name=CARRY_OUT)(crew.carry_out)
    return crew


def consume(celery: Celery, arguments: list[str], stopping: threading.Event) -> None:
    """Take messages until told to stop; a consumer that breaks is started again.

    Celery's can break for good when its broker dies at a bad moment: then it says "unrecoverable" and
    comes back from here as if it had been told to stop.
    """
    while not stopping.is_set():
        celery.worker_main(arguments)
        if stopping.wait(CONSUMER_REST_SECONDS):
            return
        log.error("consumer broken; it is started again")


def _arguments(owner: str, queues: Sequence[str], slots: int) -> list[str]:
    return [
        "worker",
        "--pool=threads",
        f"--concurrency={slots}",
        f"--queues={','.join(queues)}",
        f"--hostname={owner}",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--loglevel=WARNING",
    ]


@dataclass(slots=True)
class End:
    """When this process has ended at the latest: so many seconds after it was told to."""

    seconds: float
    _told: float | None = None

    def tell(self) -> None:
        """Note that the process was told now, unless it was before."""
        self._told = time.monotonic() if self._told is None else self._told

    def left(self) -> float:
        """Return the seconds until then; all of them as long as nobody told it."""
        gone = 0.0 if self._told is None else time.monotonic() - self._told
        return self.seconds - gone


def _stop_in_time(carrier: Carrier, end: End) -> None:
    """Pass the wish to stop on, whenever it comes, and end the process if it is not followed."""

    def early(*_: object) -> None:
        # Celery has not begun to listen for the signal: it gets it again, until it does.
        carrier.stopping.set()
        _later(AGAIN_SECONDS, os.kill, os.getpid(), signal.SIGTERM)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, early)

    @signals.worker_shutting_down.connect(weak=False)
    def stop(**_: object) -> None:
        # Running steps notice within a second, kill their children, wait for answers that were paid
        # for, and give their claims back.
        end.tell()
        log.info("worker stops", steps=carrier.busy, within_seconds=end.seconds)
        carrier.stopping.set()
        _later(end.left(), os._exit, 1)  # its claims lapse then


def _later(seconds: float, work: Callable[..., None], *given: object) -> None:
    timer = threading.Timer(seconds, work, given)
    timer.daemon = True
    timer.start()


def _end_unless_alone(seconds: float) -> None:
    """End now if a thread waits for an answer even after so many seconds: it would come too late."""
    if (left := await_answers(seconds)) > 0:
        log.warning("answers left behind", threads=left)
        sys.stderr.flush()
        os._exit(0)


def await_answers(seconds: float) -> int:
    """Wait for threads to which an answer is on its way; return how many there are after that time.

    Nobody holds the step of a job that was paused any more; what was paid for is stored all the same.
    """
    until = time.monotonic() + seconds
    waiting = [one for one in threading.enumerate() if one.name.startswith("propose")]
    for thread in waiting:
        thread.join(max(0.0, until - time.monotonic()))
    return sum(thread.is_alive() for thread in waiting)


def _check(queues: Sequence[str], slots: int) -> None:
    unknown = [name for name in queues if name not in QUEUES]
    if unknown or not queues:
        raise ConfigurationError(f"queues {list(queues)}", expected=f"some of {list(QUEUES)}")
    if slots < 1:
        raise ConfigurationError(f"{slots} slots", expected="at least one")


def owner_name() -> str:
    """Name this process so that no other, on any machine, has the same name."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
