"""`rewardsmith export` and `rewardsmith import`: a job as files, and back."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from client.api import Client
from client.commands.jobs import JobId, show_job
from client.console import JsonFlag, Screen
from client.jobs import Job
from client.saving import check_writable, refusing
from core.errors import InvalidInput


class Form(StrEnum):
    """What a job can be written as."""

    CSV = "csv"
    JSONL = "jsonl"
    TENSORBOARD = "tensorboard"
    ONNX = "onnx"
    MINARI = "minari"
    HTML = "html"
    BUNDLE = "bundle"


ENDINGS = {Form.JSONL: ".jsonl", Form.HTML: ".html", Form.BUNDLE: ".zip", Form.ONNX: ".onnx"}
"""What is one file; the others are folders."""


def export(
    job_id: JobId,
    form: Annotated[Form, typer.Option("--to", help="What to write.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File, or folder for csv, tensorboard and minari."),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Write a job to files: tables, its history, a page, the best bundle, or what other tools read."""
    screen = Screen(json_output)
    target = output or Path(f"{job_id}{ENDINGS.get(form, f'-{form.value}')}")
    if form in ENDINGS:
        check_writable(target)
    elif target.exists() and not target.is_dir():
        raise InvalidInput(f"the file {target}", expected="a folder", where="--output")
    with Client() as client:
        job = client.jobs.get(job_id)
        with refusing(target):
            written = _write(job, form, target)
    screen.emit({"job_id": job_id, "form": form.value, "files": [str(p) for p in written]})
    for path in written:
        screen.say(f"Saved as {path}")


def _write(job: Job, form: Form, target: Path) -> list[Path]:
    from client.exporting import write_csv, write_tensorboard
    from client.policy_files import write_minari, write_onnx

    writers: dict[Form, Callable[[], list[Path]]] = {
        Form.CSV: lambda: write_csv(job, target),
        Form.TENSORBOARD: lambda: write_tensorboard(job, target),
        Form.ONNX: lambda: write_onnx(job, target),
        Form.MINARI: lambda: write_minari(job, target),
        Form.HTML: lambda: [job.save_page(target)],
        Form.JSONL: lambda: [job.save_history(target)],
        Form.BUNDLE: lambda: [job.best.save_bundle(target)],
    }
    return writers[form]()


def take_in(
    file: Annotated[Path, typer.Argument(help="What `rewardsmith export --to jsonl` wrote.")],
    json_output: JsonFlag = False,
) -> None:
    """Take in a job that was exported elsewhere, as your own; a worker reads its facts."""
    with Client() as client:
        try:
            job = client.jobs.take_in(file)
        except OSError as error:
            raise InvalidInput(str(error), expected="a readable export", where=str(file)) from error
    show_job(job, Screen(json_output))
