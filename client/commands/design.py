"""`rewardsmith design`: submit a job, and follow it if asked to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from client.api import Client, Job
from client.console import INTERRUPTED, JsonFlag, Screen
from client.recording import save_recording
from client.summary import conclude, look_again
from client.watching import watch
from core.errors import InvalidInput

# Where an option of the command belongs in the body of the request.
PLACES: dict[str, tuple[str, ...]] = {
    "method": ("method",),
    "mode": ("mode",),
    "designer": ("designer", "name"),
    "model": ("designer", "model"),
    "temperature": ("designer", "temperature"),
    "recording": ("designer", "recording"),
    "iterations": ("iterations",),
    "candidates": ("candidates",),
    "steps": ("training", "steps"),
    "seeds": ("training", "seeds"),
    "packs": ("training", "packs"),
    "confirm_seeds": ("evaluation", "confirm_seeds"),
    "max_env_steps": ("budget", "env_steps"),
    "max_tokens": ("budget", "tokens"),
    "max_seconds": ("budget", "seconds"),
    "seed": ("seed",),
    "name": ("name",),
}


Task = Annotated[str | None, typer.Argument(help="A task of the catalogue, or an environment id.")]
Words = Annotated[
    str | None, typer.Argument(help="What is wanted, in words; optional for catalogue tasks.")
]
Watch = Annotated[
    bool, typer.Option("--watch", help="Follow the job to its end and save the best reward.")
]
Body = Annotated[Path | None, typer.Option(help="Body of the request as JSON; options go over it.")]
Record = Annotated[
    Path | None, typer.Option(help="Save every prompt and reply to this file (with --watch).")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Where to save the best reward.")
]


def design(
    task: Task = None,
    description: Words = None,
    watching: Watch = False,
    method: Annotated[str | None, typer.Option(help="See `rewardsmith methods`.")] = None,
    mode: Annotated[str | None, typer.Option(help="replace the native reward, or add.")] = None,
    designer: Annotated[str | None, typer.Option(help="evolution, openai or replay.")] = None,
    model: Annotated[str | None, typer.Option(help="Model of the designer.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the model.")] = None,
    recording: Annotated[str | None, typer.Option(help="Recording for designer replay.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Rounds of refinement.")] = None,
    candidates: Annotated[int | None, typer.Option(help="Candidates per iteration.")] = None,
    steps: Annotated[int | None, typer.Option(help="Environment steps per training.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings per candidate.")] = None,
    packs: Annotated[int | None, typer.Option(help="Processes that share an iteration.")] = None,
    confirm_seeds: Annotated[int | None, typer.Option(help="Fresh seeds at the end.")] = None,
    max_env_steps: Annotated[int | None, typer.Option(help="Budget of the whole job.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Budget of the whole job.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Budget of the whole job.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same job.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    file: Body = None,
    record: Record = None,
    output: Output = None,
    json_output: JsonFlag = False,
) -> None:
    """Design a reward for TASK, or for an environment with a DESCRIPTION of what is wanted."""
    given = {key: value for key, value in locals().items() if key in PLACES and value is not None}
    body = request_body(file, task, description, given)
    screen = Screen(json_output)
    with Client() as client:
        job = client.jobs.create(**body)
        if not watching:
            _accepted(job, screen)
            return
        raise typer.Exit(follow(job, screen, output, record))


def request_body(
    file: Path | None, task: str | None, description: str | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Put the request together: the file, and over it what the command line says.

    Raises:
        InvalidInput: no task at all, or a file that is no JSON object.
    """
    body = _read(file) if file is not None else {}
    if task is not None:
        body["task"] = task
    if description is not None:
        body["description"] = description
    for key, value in options.items():
        *above, last = PLACES[key]
        place = body
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    if "task" not in body:
        raise InvalidInput(
            "no task",
            expected="a task or an environment id",
            hint="List tasks with `rewardsmith tasks`.",
        )
    return body


def _read(file: Path) -> dict[str, Any]:
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(str(error), expected="a readable JSON file", where=str(file)) from error
    if not isinstance(body, dict):
        raise InvalidInput(type(body).__name__, expected="a JSON object", where=str(file))
    return body


def follow(job: Job, screen: Screen, output: Path | None, record: Path | None = None) -> int:
    """Watch a job to its end, tell how it ended, and return the exit code."""
    try:
        screen.say(f"Job {job.id}")
        watch(job, screen)
    except KeyboardInterrupt:
        look_again(job.id, screen)
        return INTERRUPTED
    if record is not None:
        save_recording(job.exchanges(), record)
        screen.say(f"Prompts and replies saved as {record}")
    return conclude(job, screen, output or Path(f"reward_{job.id[-8:]}.py"))


def _accepted(job: Job, screen: Screen) -> None:
    screen.emit(job.document)
    screen.say(f"Job {job.id} is {job.status}.")
    screen.say(f"Follow it with: rewardsmith jobs watch {job.id}")
