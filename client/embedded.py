"""A server of one's own, as a child process that ends with this one."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from client.processes import child_environment, command, stop_all
from core.errors import StorageFailed

# Whatever other servers of this machine ask for; and a script that ends waits for no answer.
OWN = {"REWARDSMITH_KEYS": "unless-loopback", "REWARDSMITH_STOP_SECONDS": "5"}


@contextmanager
def served(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server with workers on a data folder, and yield its address.

    Args:
        folder:   for everything that is kept; the server's log goes there as well.
        settings: further ones, REWARDSMITH_… and their values.

    Raises:
        StorageFailed: it does not come up; the end of its log says why.
    """
    log = folder / "server.log"
    own = {**os.environ, **OWN, "REWARDSMITH_HOME": str(folder), **(settings or {})}
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command("serve", "--host", "127.0.0.1", "--port", "0", "--json", "--exit-with-parent"),
            env=child_environment(own),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C reaches us alone; we stop the server in order
        )
    try:
        yield _address(process, log)
    finally:
        stop_all([process])
        if process.stdout is not None:
            process.stdout.close()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Read the line with which the server says that it listens."""
    assert process.stdout is not None
    began = time.monotonic()
    line = process.stdout.readline()
    if not line:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise StorageFailed(
            f"the server ended after {time.monotonic() - began:.0f} s: {tail}", where=str(log)
        )
    return str(json.loads(line)["listening"])
