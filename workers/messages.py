"""What travels through the broker: "look at this step of that job".  Ids only, and only as a hint.

A message may be lost, doubled or late; the database decides who does what.  Messages are acknowledged
when they are received, so that no broker ever redelivers a training that outlives its timeout.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeAlias

from celery import Celery

from core.failpoints import failpoint
from core.loop import DESIGN_STEPS, KINDS, QUEUES, Preflight, next_steps, queue_of, step_key
from core.settings import Settings
from core.storage import Store
from workers.folder_broker import use_whole_messages

CARRY_OUT = "rewardsmith.carry_out"
OFFER_SECONDS = 10.0  # a step that nobody claimed is announced again after this time


def kinds_of(queues: Collection[str]) -> tuple[str, ...]:
    """Return the kinds of step that are done where these queues are served."""
    return tuple(
        kind
        for kind, made in KINDS.items()
        if ("design" if issubclass(made, DESIGN_STEPS) else "train") in queues
    )


def make_celery(settings: Settings) -> Celery:
    """Return the Celery application for the configured broker; nothing is connected yet."""
    use_whole_messages()
    app = Celery("rewardsmith", broker=broker_address(settings), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        result_backend=None,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        task_queues={name: {"exchange": name, "routing_key": name} for name in QUEUES},
        task_create_missing_queues=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # the database is worked from meanwhile
        broker_transport_options=transport_options(settings),
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    return app


def broker_address(settings: Settings) -> str:
    """Return the broker's URL; a folder has no host, but Kombu wants one and warns at every message."""
    url = settings.broker_url
    return "filesystem://localhost//" if url.rstrip("/") == "filesystem:" else url


def transport_options(settings: Settings) -> dict[str, Any]:
    """Return the options of the broker's transport."""
    if settings.broker_url.startswith("filesystem"):
        folder = Path(settings.home) / "broker"
        (folder / "messages").mkdir(parents=True, exist_ok=True)
        (folder / "control").mkdir(parents=True, exist_ok=True)
        return {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
            "store_processed": False,
            "polling_interval": 0.1,
        }
    return {
        # Early acknowledgement makes redelivery pointless; days keep it from ever happening.
        "visibility_timeout": 7 * 24 * 3600,
        "socket_keepalive": True,
        "socket_timeout": 30.0,
        "socket_connect_timeout": 5.0,
    }


Take: TypeAlias = Callable[[str, str, str], bool]
"""(queue, job, step key) -> whether the step is being carried out here at once."""


class BrokerAway(Exception):
    """A step could not be announced; it is still wanted, and the next sweep sees to it."""


def dispatch(
    store: Store,
    celery: Celery | None,
    job_id: str,
    take: Take | None = None,
    *,
    again: bool = True,
) -> int:
    """Announce every step of a job that can be started; return how many were.

    `offer` is a compare-and-set in the database: whoever calls this, and however often, a step is
    announced at most once in OFFER_SECONDS.  One that was announced in vain, or cannot be, is carried
    out here if there is a slot: the broker makes workers quick, and they do without it.

    Args:
        store:  that knows the job.
        celery: that is told; None while its broker is known to be away.
        job_id: of the job.
        take:   carries a step out in this process; None in one that carries out nothing.
        again:  whether steps that were announced before, in vain so far, are as well.

    Raises:
        BrokerAway: a step could be neither announced nor carried out.
        NotFound: no such job.
    """
    steps = next_steps(store.history(job_id))
    announced = 0
    for step in steps:
        key, queue = step_key(step), queue_of(step)
        offer = store.offer(job_id, key, OFFER_SECONDS, again=again)
        if offer is None:
            continue
        failpoint("offer.made")
        if offer == "first" or take is None or not take(queue, job_id, key):
            announce(store, celery, queue, job_id, key, take)
        failpoint("offer.published")
        announced += 1
    return announced


def dispatch_first(store: Store, celery: Celery, job_id: str) -> None:
    """Announce the first step of a job that was accepted with its offer.

    Raises:
        BrokerAway: it could not be.
        NotFound: no such job.
    """
    failpoint("offer.made")
    announce(store, celery, queue_of(Preflight()), job_id, step_key(Preflight()), None)
    failpoint("offer.published")


def announce(
    store: Store, celery: Celery | None, queue: str, job_id: str, key: str, take: Take | None
) -> None:
    """Announce a step that was offered, or carry it out here; else take the offer back.

    Raises:
        BrokerAway: nobody was told.
    """
    try:
        if celery is None:
            raise BrokerAway(key)
        send(celery, queue, job_id, key)
    # The broker's client may raise anything, and all of it means that nobody was told.
    except Exception as error:
        if take is not None and take(queue, job_id, key):
            return
        store.withdraw(job_id, key)
        raise BrokerAway(f"{type(error).__name__}: {error}") from error


def send(celery: Celery, queue: str, job_id: str, key: str) -> None:
    """Publish one hint."""
    celery.send_task(
        CARRY_OUT,
        args=(job_id, key),
        queue=queue,
        retry=True,
        retry_policy={"max_retries": 1, "interval_start": 0.1, "interval_max": 0.5},
    )
