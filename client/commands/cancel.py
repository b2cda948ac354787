"""`rewardsmith cancel`: end many jobs at once."""

from __future__ import annotations

from typing import Annotated

import typer

from client.api import Client
from client.console import FAILED, JsonFlag, Screen
from core.errors import InvalidInput


def cancel(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of jobs.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Only jobs with this label, as NAME=VALUE.")
    ] = None,
    status: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    task: Annotated[str | None, typer.Option(help="Only jobs for this task.")] = None,
    json_output: JsonFlag = False,
) -> None:
    """Ask for the end of jobs: those that are named, or those that have not ended and fit."""
    screen = Screen(json_output)
    labels = dict(map(_label, label)) if label else None
    if bool(ids) == any((labels, status, task)):
        raise InvalidInput(
            "both" if ids else "neither",
            expected="either ids of jobs, or some of --label, --status and --task",
            where="cancel",
        )
    with Client() as client:
        found = client.jobs.cancel(*(ids or ()), status=status, task=task, labels=labels)
    screen.emit({"data": [one.model_dump(mode="json") for one in found]})
    for one in found:
        told = one.status or f"refused: {one.problem.detail if one.problem else ''}"
        screen.say(f"{one.id}  {told}")
    if not found:
        screen.say("No open job fits.")
    if any(one.problem for one in found):
        raise typer.Exit(FAILED)


def _label(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise InvalidInput(repr(text), expected="NAME=VALUE", where="--label")
    return name, value
