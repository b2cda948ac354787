"""`rewardsmith serve`: the server and its workers, with nothing else to install."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from client.console import JsonFlag, Screen
from client.processes import Children, command, end_with_parent, exit_on_sigterm
from client.transport import address, usual_url
from core.errors import ConfigurationError

if TYPE_CHECKING:
    from core.settings import Settings

MOST_WORKERS = 4
DESIGN_SLOTS = 2
SLACK_SECONDS = 1.0
EXPLAIN_SECONDS = 2.0
WAITS = "Answers of a model may be on their way, which are paid for; Ctrl-C again leaves them."


def serve(
    host: Annotated[str | None, typer.Option(help="Address; REWARDSMITH_API_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port; 0 picks a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Trainings at a time; 0 starts no worker at all.")
    ] = None,
    queues: Annotated[str, typer.Option(help="Kinds of step to serve.")] = "design,train",
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes of the server; REWARDSMITH_PROCESSES.")
    ] = None,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Also bring a PostgreSQL database up to date.")
    ] = False,
    exit_with_parent: Annotated[
        bool, typer.Option(help="End when the process that started this one ends.")
    ] = False,
    inherited: Annotated[int | None, typer.Option("--socket", hidden=True)] = None,
    json_output: JsonFlag = False,
) -> None:
    """Serve the API, and start workers as child processes."""
    from client.server import listen, run_server
    from client.several import run_servers
    from core.failpoints import refuse_failpoints
    from core.sandbox import expect_hidden
    from core.settings import read_settings

    exit_on_sigterm()
    screen = Screen(json_output)
    names = known_queues(queues)
    refuse_failpoints()
    settings = read_settings()
    if exit_with_parent:
        end_with_parent(settings.stop_seconds)
    if inherited is not None:  # one of several, for which all else has been seen to
        run_server(settings, socket.socket(fileno=inherited), lambda: None)
        return
    count = usual_workers() if workers is None else workers
    # Else workers would start and end again and again, beside a server that takes jobs.
    if count:
        expect_hidden(settings.private_paths(), settings.environment_paths)
    prepare_database(settings, migrate)
    bound = listen(host or settings.api_host, settings.api_port if port is None else port)
    grace = settings.stop_seconds + SLACK_SECONDS
    children = Children(os.environ, screen.complain, grace_seconds=grace)
    children.start(worker_commands(count, names))
    number = settings.processes if processes is None else processes

    def ready() -> None:
        announce(bound, count, settings, screen)

    try:
        if number == 1:
            run_server(settings, bound, ready)
        else:
            run_servers(settings, bound, number, ready, screen.complain)
    finally:
        with explained(f"Waiting up to {grace:.0f} s for the workers. {WAITS}", screen):
            children.stop()


@contextmanager
def explained(message: str, screen: Screen) -> Iterator[None]:
    """Say why something takes as long as it does, if it takes long."""
    timer = threading.Timer(EXPLAIN_SECONDS, screen.complain, [message])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def known_queues(text: str) -> list[str]:
    """Return the names of queues in a list with commas.

    Raises:
        ConfigurationError: there is no such queue, or none is named.
    """
    from core.loop import QUEUES

    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in QUEUES]
    if unknown or not names:
        raise ConfigurationError(
            ", ".join(unknown) or "none",
            expected=f"some of the queues {', '.join(QUEUES)}, separated by commas",
            where="--queues",
            hint="Leave the option out to serve them all; --workers 0 serves none.",
        )
    return names


def usual_workers() -> int:
    """Return one per core that we may use, four at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MOST_WORKERS)


def worker_commands(count: int, queues: list[str]) -> list[list[str]]:
    """Return the command lines of the workers: one that waits for models, one that uses the cores."""
    slots = {"design": DESIGN_SLOTS, "train": count}
    return [
        command("worker", "--queues", name, "--slots", str(slots[name]), "--exit-with-parent")
        for name in ("design", "train")
        if count and name in queues
    ]


def prepare_database(settings: Settings, migrate: bool) -> None:
    """Make the tables of an embedded database; another's are touched only when told so.

    Raises:
        StorageFailed: it cannot be reached, or it is not up to date and we were not told to change it.
    """
    from core.storage import open_store
    from migrations import upgrade

    if migrate or settings.database_url.startswith("sqlite"):
        upgrade(settings.database_url)
    store = open_store(settings.database_url)
    try:
        store.check_schema()
    finally:
        store.close()


def announce(bound: socket.socket, count: int, settings: Settings, screen: Screen) -> None:
    """Say where the server listens, now that it does, and how other commands find it."""
    host, port = bound.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    screen.say(f"listening on {url}")
    if address(host, port) != usual_url():
        screen.say(f"export REWARDSMITH_API_URL={address(host, port)}")
    screen.emit(
        {"listening": url, "pid": os.getpid(), "workers": count, "home": str(settings.home)}
    )
