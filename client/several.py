"""Several processes of the server that take their connections from one socket."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing

import httpx2

from client.processes import Children, command
from client.server import check_keys, is_keyless
from client.transport import address
from core.errors import StorageFailed
from core.settings import Settings
from core.storage import open_store

METRICS = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client lets processes count together
BACKLOG = 2048
START_SECONDS = 60.0
POLL_SECONDS = 0.1


def run_servers(
    settings: Settings,
    bound: socket.socket,
    number: int,
    ready: Callable[[], None],
    report: Callable[[str], None],
) -> None:
    """Serve with so many processes until SIGINT or SIGTERM; one that dies is started again.

    Raises:
        ConfigurationError: others could reach the server, and nobody has a key.
        StorageFailed: none of them comes up.
    """
    if not is_keyless(settings, bound):
        with closing(open_store(settings.database_url)) as store:
            check_keys(store, bound)
    bound.listen(BACKLOG)
    with tempfile.TemporaryDirectory(prefix="rewardsmith-metrics-") as folder:
        environment = {**os.environ, METRICS: folder}
        servers = Children(environment, report, keep=(bound.fileno(),))
        line = command("serve", "--socket", str(bound.fileno()), "--exit-with-parent")
        servers.start([line] * number)
        try:
            _wait_for_one(bound)
            ready()
            threading.Event().wait()
        finally:
            servers.stop()


def _wait_for_one(bound: socket.socket) -> None:
    url = address(*bound.getsockname()[:2])
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            if httpx2.get(f"{url}/healthz", timeout=2).status_code == httpx2.codes.OK:
                return
        except httpx2.TransportError:
            time.sleep(POLL_SECONDS)
    raise StorageFailed("no process of the server answers", where=url, hint="Look at their log.")
