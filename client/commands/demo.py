"""`rewardsmith demo`: the whole loop over REST, with no service, no account and no key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.api import Client, Job
from client.console import INTERRUPTED, JsonFlag, Screen
from client.demo import DEMO, TASK
from client.embedded import served
from client.processes import exit_on_sigterm
from client.summary import conclude
from client.watching import watch

HOME = Path(".rewardsmith")


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
