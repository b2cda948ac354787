"""`rewardsmith best`: the best design of a job, on the screen or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.api import Client
from client.console import JsonFlag, Screen
from client.saving import check_writable, refusing, whole_file


def best(
    job_id: Annotated[str, typer.Argument(help="Id of the job.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the file here instead of showing it."),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Show or save the best reward of a job, as one file that needs nothing of ours."""
    screen = Screen(json_output)
    check_writable(output)
    with Client() as client:
        design = client.jobs.get(job_id).best
        candidate, source = design.view().model_dump(mode="json"), design.source()
    if output is not None:
        with refusing(output), whole_file(output) as out:
            out.write(source.encode())
        screen.say(f"Saved as {output.resolve()}")
    elif not json_output:
        # What is piped into a file has to be that file, whatever alphabet the terminal has.
        typer.echo(source if screen.terminal else source.encode(), nl=False)
    saved = str(output.resolve()) if output else None
    screen.emit({"candidate": candidate, "reward_file": saved, "source": source})
