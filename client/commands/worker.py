"""`rewardsmith worker`: carry out steps, on this or any other machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from client.console import JsonFlag, Screen
from client.processes import end_with_parent

DEFAULT_QUEUES = "design,train"


def worker(
    queues: Annotated[
        str, typer.Option(help="Kinds of step to take: design, train, or both.")
    ] = DEFAULT_QUEUES,
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Steps at a time; by default REWARDSMITH_WORKER_SLOTS."),
    ] = None,
    alive_file: Annotated[
        Path | None,
        typer.Option(help="File to touch every second while all is well, for a health check."),
    ] = None,
    exit_with_parent: Annotated[
        bool, typer.Option(help="End when the process that started this one ends.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """Carry out the steps of jobs until stopped."""
    from core.failpoints import refuse_failpoints
    from core.settings import read_settings

    refuse_failpoints()
    settings = read_settings()
    if exit_with_parent:
        end_with_parent(settings.stop_seconds)
    from workers.main import run  # brings torch along: only here

    names = [name.strip() for name in queues.split(",") if name.strip()]
    count = slots or settings.worker_slots
    Screen(json_output).emit({"pid": os.getpid(), "queues": names, "slots": count})
    run(settings, names, count, alive_file)
