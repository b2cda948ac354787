"""`rewardsmith export`: a job as files that other programs read."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from client.api import Client
from client.commands.jobs import JobId
from client.console import JsonFlag, Screen
from client.jobs import Job
from client.saving import check_writable
from core.errors import InvalidInput


class Form(StrEnum):
    """What a job can be written as."""

    CSV = "csv"
    TENSORBOARD = "tensorboard"
    HTML = "html"


ENDINGS = {Form.HTML: ".html"}  # the others are folders


def export(
    job_id: JobId,
    form: Annotated[Form, typer.Option("--to", help="What to write.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File, or folder for csv and tensorboard."),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Write a job to files: tables, TensorBoard events, or one page for papers and mail."""
    screen = Screen(json_output)
    target = output or Path(f"{job_id}{ENDINGS.get(form, f'-{form.value}')}")
    if form in ENDINGS:
        check_writable(target)
    elif target.exists() and not target.is_dir():
        raise InvalidInput(f"the file {target}", expected="a folder", where="--output")
    with Client() as client:
        written = _write(client.jobs.get(job_id), form, target)
    screen.emit({"job_id": job_id, "form": form.value, "files": [str(p) for p in written]})
    for path in written:
        screen.say(f"Saved as {path}")


def _write(job: Job, form: Form, target: Path) -> list[Path]:
    from client.exporting import write_csv, write_tensorboard

    writers: dict[Form, Callable[[], list[Path]]] = {
        Form.CSV: lambda: write_csv(job, target),
        Form.TENSORBOARD: lambda: write_tensorboard(job, target),
        Form.HTML: lambda: [job.save_page(target)],
    }
    return writers[form]()
