"""`rewardsmith design`: submit a job, and follow it if asked to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from client.api import Client, Job
from client.console import INTERRUPTED, JsonFlag, Screen
from client.recording import save_recording
from client.saving import check_writable
from client.summary import conclude, look_again, tell_estimate
from client.transport import ApiProblem
from client.watching import watch
from core.errors import InvalidInput

# Where an option of the command belongs in the body of the request.
PLACES: dict[str, tuple[str, ...]] = {
    "profile": ("profile",),
    "method": ("method",),
    "mode": ("mode",),
    "designer": ("designer", "name"),
    "model": ("designer", "model"),
    "temperature": ("designer", "temperature"),
    "recording": ("designer", "recording"),
    "iterations": ("iterations",),
    "candidates": ("candidates",),
    "algorithm": ("training", "algorithm"),
    "warm_start": ("training", "warm_start"),
    "steps": ("training", "steps"),
    "seeds": ("training", "seeds"),
    "packs": ("training", "packs"),
    "confirm_seeds": ("evaluation", "confirm_seeds"),
    "fitness_alone": ("evaluation", "fitness_alone"),
    "runoff": ("evaluation", "runoff_candidates"),
    "ablate": ("evaluation", "ablate"),
    "max_env_steps": ("budget", "env_steps"),
    "max_tokens": ("budget", "tokens"),
    "max_money": ("budget", "money"),
    "max_seconds": ("budget", "seconds"),
    "seed": ("seed",),
    "name": ("name",),
    "webhook": ("webhook", "url"),
}


Task = Annotated[str | None, typer.Argument(help="A task of the catalogue, or an environment id.")]
Words = Annotated[
    str | None, typer.Argument(help="What is wanted, in words; optional for catalogue tasks.")
]
Watch = Annotated[
    bool, typer.Option("--watch", help="Follow the job to its end and save the best reward.")
]
Estimate = Annotated[
    bool, typer.Option("--estimate", help="Say what the job would cost, and start nothing.")
]
Body = Annotated[Path | None, typer.Option(help="Body of the request as JSON; options go over it.")]
Record = Annotated[
    Path | None, typer.Option(help="Save every prompt and reply to this file (with --watch).")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Where to save the best reward.")
]

SettingsText = Annotated[
    str | None,
    typer.Option(
        help='Settings of the learner, as JSON or a file: \'{"hidden": [128, 128], "gamma": 0.98}\'.'
    ),
]
EnvText = Annotated[
    str | None,
    typer.Option(help="Arguments of the environment, as JSON or a file."),
]
Start = Annotated[
    list[Path] | None,
    typer.Option(help="A program of yours to be measured and improved; may be repeated."),
]
FitnessText = Annotated[
    str | None,
    typer.Option(
        help="How success is measured: a JSON object such as "
        '\'{"kind": "success", "where": "x > 1", "over": "any"}\', or a file that holds one.'
    ),
]


def design(
    task: Task = None,
    description: Words = None,
    watching: Watch = False,
    estimate: Estimate = False,
    profile: Annotated[
        str | None, typer.Option(help="Size in one word: smoke, lean, standard or thorough.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="See `rewardsmith methods`.")] = None,
    mode: Annotated[str | None, typer.Option(help="replace the native reward, or add.")] = None,
    designer: Annotated[str | None, typer.Option(help="evolution, openai or replay.")] = None,
    model: Annotated[str | None, typer.Option(help="Model of the designer.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the model.")] = None,
    recording: Annotated[str | None, typer.Option(help="Recording for designer replay.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Rounds of refinement.")] = None,
    candidates: Annotated[int | None, typer.Option(help="Candidates per iteration.")] = None,
    algorithm: Annotated[
        str | None, typer.Option(help="ppo, or sac (vectors), dqn (choices).")
    ] = None,
    warm_start: Annotated[
        bool | None, typer.Option(help="Begin with what baseline and parents lived (sac, dqn).")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Environment steps per training.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings per candidate.")] = None,
    packs: Annotated[int | None, typer.Option(help="Processes that share an iteration.")] = None,
    confirm_seeds: Annotated[int | None, typer.Option(help="Fresh seeds at the end.")] = None,
    fitness_alone: Annotated[
        bool | None, typer.Option(help="Train on the fitness alone as well, to compare.")
    ] = None,
    runoff: Annotated[
        int | None, typer.Option(help="Designs that are trained again before one is chosen.")
    ] = None,
    ablate: Annotated[
        bool | None, typer.Option(help="Train the winner again without each of its terms.")
    ] = None,
    max_env_steps: Annotated[int | None, typer.Option(help="Budget of the whole job.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Budget of the whole job.")] = None,
    max_money: Annotated[
        float | None, typer.Option(help="Budget of the whole job, in US dollars.")
    ] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Budget of the whole job.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same job.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    webhook: Annotated[
        str | None, typer.Option(help="Address that is told, signed, when the job has ended.")
    ] = None,
    fitness: FitnessText = None,
    settings: SettingsText = None,
    env_kwargs: EnvText = None,
    start: Start = None,
    file: Body = None,
    record: Record = None,
    output: Output = None,
    json_output: JsonFlag = False,
) -> None:
    """Design a reward for TASK, or for an environment with a DESCRIPTION of what is wanted."""
    given = {key: value for key, value in locals().items() if key in PLACES and value is not None}
    body = request_body(file, task, description, given)
    screen = Screen(json_output)
    check_writable(output)
    check_writable(record, makes_folders=True)
    own = {
        name: read_object(text, f"--{name.replace('_', '-')}")
        for name, text in (("fitness", fitness), ("env_kwargs", env_kwargs))
        if text is not None
    }
    if settings is not None:
        _inner(body, "training")["settings"] = read_object(settings, "--settings")
    if start:
        body["start"] = [*body.get("start", ()), *starts(start)]
    with Client() as client:
        if own:
            body["task"] = {**task_in_full(client, body["task"]), **own}
        if estimate:
            tell_estimate(client.jobs.estimate(**body).model_dump(mode="json"), screen)
            return
        job = client.jobs.create(**body)
        if not _brings_secret(body):
            _tell_secret(job, screen, watching)
        if not watching:
            _accepted(job, screen)
            return
        raise typer.Exit(follow(job, screen, output or usual_file(job), record))


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
            place = _inner(place, part)
        place[last] = value
    if "task" not in body:
        raise InvalidInput(
            "no task",
            expected="a task or an environment id",
            hint="List tasks with `rewardsmith tasks`.",
        )
    return body


def _inner(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the object under a name, made where it is missing."""
    found = body.setdefault(name, {})
    if not isinstance(found, dict):
        raise InvalidInput(
            json.dumps(found)[:80],
            expected="a JSON object, over which the options go",
            where=f"`{name}` of the request",
            hint=f'Write {{"{name}": {{…}}}} in the file, or leave the options out.',
        )
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInput(str(error), expected="a readable JSON file", where=str(file)) from error
    return _parse(text, str(file))


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(str(error), expected="readable JSON", where=where) from error
    if not isinstance(body, dict):
        raise InvalidInput(type(body).__name__, expected="a JSON object", where=where)
    return body


def read_object(text: str, where: str) -> dict[str, Any]:
    """Return the object that an option gives as JSON, or as the name of a file of it.

    Raises:
        InvalidInput: it is neither.
    """
    is_json = text.lstrip().startswith("{")
    return _parse(text, where) if is_json else _read(Path(text))


def starts(files: Sequence[Path] | None) -> list[dict[str, str]]:
    """Return the entries of `start` for some programs."""
    return [{"source": read_program_file(file), "note": file.name} for file in files or ()]


def read_program_file(file: Path) -> str:
    """Return the text of a program.

    Raises:
        InvalidInput: the file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInput(str(error), expected="a readable program", where=str(file)) from error


def task_in_full(client: Client, task: object) -> dict[str, Any]:
    """Say a task in full, so that parts of it can be replaced.

    A name is looked up in the catalogue; what is not there is the id of an environment, whose
    description stands beside the task.
    """
    if isinstance(task, dict):
        return task
    try:
        known = client.task(quote(str(task), safe=""))
    except ApiProblem as problem:
        if problem.status != 404:
            raise
        return {"environment": task, "description": ""}
    return known.model_dump(mode="json", exclude={"measured"})


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
    return conclude(job, screen, output)


def usual_file(job: Job) -> Path:
    """Return where the best reward of a watched job is saved if nobody says where."""
    return Path(f"reward_{job.id[-8:]}.py")


def _brings_secret(body: Mapping[str, Any]) -> bool:
    """Tell whether somebody knows the webhook's secret already."""
    return bool((body.get("webhook") or {}).get("secret"))


def _tell_secret(job: Job, screen: Screen, watching: bool) -> None:
    """Tell the secret that was made for the job's webhook: nobody can ask for it again."""
    webhook = job.document.get("webhook")
    if webhook is None:
        return
    screen.say(f"Secret of the webhook, shown this once: {webhook['secret']}")
    if watching:  # else the whole job is told
        screen.emit({"webhook": webhook})


def _accepted(job: Job, screen: Screen) -> None:
    screen.emit(job.document)
    screen.say(f"Job {job.id} is {job.status}.")
    screen.say(f"Follow it with: rewardsmith jobs watch {job.id}")
