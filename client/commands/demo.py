"""`rewardsmith demo`: the whole loop over REST, with no service, no account and no key."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from client.api import Client, Job
from client.console import INTERRUPTED, JsonFlag, Screen
from client.demo import DEMO, TASK
from client.processes import child_environment, command, exit_on_sigterm, stop_all
from client.summary import conclude
from client.watching import watch
from core.errors import StorageFailed

HOME = Path(".rewardsmith")
KEYLESS = {"REWARDSMITH_KEYS": "unless-loopback"}  # whatever other servers of this machine ask for


def demo(
    task: Annotated[str, typer.Option(help="Task of the catalogue.")] = TASK,
    home: Annotated[Path, typer.Option(help="Folder for everything that is kept.")] = HOME,
    json_output: JsonFlag = False,
) -> None:
    """Design a reward from start to end on this machine, and show that it is better."""
    exit_on_sigterm()
    screen = Screen(json_output)
    folder = home.expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with served(folder) as url, Client(url) as client:
        raise typer.Exit(carry_through(client, task, folder, screen))


def carry_through(client: Client, task: str, folder: Path, screen: Screen) -> int:
    """Submit the demo's job, follow it, tell how it ended, and return the exit code."""
    job: Job | None = None
    try:
        job = client.jobs.create(task, **DEMO)
        screen.say(f"Server   {client.base_url}")
        screen.say(f"Job      {job.id}: {job.document['spec']['task']['description']}")
        watch(job, screen)
    except KeyboardInterrupt:
        _interrupted(job, folder, screen)
        return INTERRUPTED
    code = conclude(job, screen, folder / "reward.py")
    screen.say()
    screen.say(f"Look further: {_serve_again(folder)}")
    screen.say(f"        then: rewardsmith jobs show {job.id}")
    return code


def _interrupted(job: Job | None, folder: Path, screen: Screen) -> None:
    screen.complain(f"\nInterrupted. Nothing is lost; go on with: {_serve_again(folder)}")
    if job is not None:
        screen.complain(
            f"                     and look again with: rewardsmith jobs watch {job.id}"
        )


def _serve_again(folder: Path) -> str:
    return f"REWARDSMITH_HOME={folder} rewardsmith serve"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run a server with workers on a data folder, and yield its address.

    Raises:
        StorageFailed: it does not come up; the end of its log says why.
    """
    log = folder / "server.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command("serve", "--host", "127.0.0.1", "--port", "0", "--json", "--exit-with-parent"),
            env=child_environment({**os.environ, **KEYLESS, "REWARDSMITH_HOME": str(folder)}),
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
