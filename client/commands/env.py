"""`rewardsmith env`: look at an environment as a job would, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.commands.design import read_object
from client.console import FAILED, JsonFlag, Screen

if TYPE_CHECKING:
    from client.environments import Checked
    from core.records.task import Field, Task

app = typer.Typer(help="Look at environments.", no_args_is_help=True)


@app.callback()
def env() -> None:
    """Look at environments."""


@app.command("check")
def check(
    environment: Annotated[
        str, typer.Argument(help="An id, module:EnvId, or a task of the catalogue.")
    ],
    path: Annotated[
        list[Path] | None,
        typer.Option(help="Folder to import from, beside REWARDSMITH_ENVIRONMENT_PATHS."),
    ] = None,
    fitness: Annotated[
        str | None, typer.Option(help="How success is measured: JSON, or a file of it.")
    ] = None,
    env_kwargs: Annotated[
        str | None, typer.Option(help="Arguments of the environment: JSON, or a file of it.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Build ENVIRONMENT in the sandbox of this machine: spaces, fields, fitness, what prompts show."""
    from client.environments import UNUSABLE, check_environment
    from core.settings import read_settings

    settings, screen = read_settings(), Screen(json_output)
    task = _task(environment, fitness, env_kwargs)
    waived = settings.allow_weaker_isolation == "i-understand"
    folders = [*settings.environment_paths, *(folder.absolute() for folder in path or ())]
    try:
        found = check_environment(task, folders, 0 if waived else settings.required_isolation)
    except UNUSABLE as error:
        screen.emit({"ok": False, "environment": task.environment, "problem": error.sentence()})
        screen.say(f"FAIL {error.sentence()}")
        raise typer.Exit(FAILED) from error
    screen.emit(_document(found))
    _tell(found, screen)


def _task(environment: str, fitness: str | None, env_kwargs: str | None) -> Task:
    from core.tasks import check_task, find_task, task_from_mapping, with_known_fields

    task = find_task(environment)
    if fitness is not None:
        asked: dict[str, object] = {
            "environment": task.environment,
            "description": task.description,
        }
        asked["fitness"] = read_object(fitness, "--fitness")
        task = replace(task, fitness=task_from_mapping(asked).fitness)
    if env_kwargs is not None:
        task = replace(task, env_kwargs=read_object(env_kwargs, "--env-kwargs"))
    task = with_known_fields(task)
    check_task(task)
    return task


def _document(found: Checked) -> dict[str, object]:
    seen = found.preflight
    return {
        "ok": True,
        "environment": found.task.environment,
        "observation_size": seen.observation_size,
        "action": dict(seen.action),
        "max_episode_steps": seen.max_episode_steps,
        "fields": [asdict(field) for field in seen.fields],
        "fitness": found.measured,
        "random_fitness": seen.random_fitness,
        "steps_per_second": seen.steps_per_second,
        "adapter": seen.adapter,
        "isolation_level": seen.isolation_level,
        "warnings": list(seen.warnings),
        "hidden_fields": list(found.hidden),
        "source_shown": found.excerpt,
        "source_withheld": list(found.withheld),
    }


def _tell(found: Checked, screen: Screen) -> None:
    seen = found.preflight
    limit = "none" if seen.max_episode_steps is None else f"{seen.max_episode_steps:,} steps"
    screen.say(f"ok   {found.task.environment}")
    screen.say(f"observation  {seen.observation_size} numbers, as the policy sees them")
    screen.say(f"action       {_action(seen.action)}")
    screen.say(f"time limit   {limit}")
    screen.say(f"speed        {seen.steps_per_second:,.0f} steps a second ({seen.adapter})")
    screen.say(f"fitness      {found.measured}")
    screen.say(f"             a random policy has {seen.random_fitness:.4g}")
    screen.say("fields")
    for field in seen.fields:
        screen.say(f"  {_field(field)}")
    for warning in seen.warnings:
        screen.say(f"warning      {warning}")
    screen.say()
    screen.say("The leak guard: what a prompt may show, with context.source")
    hidden = ", ".join(found.hidden) or "none"
    screen.say(f"  fields that only the metric sees: {hidden}")
    screen.say(f"  computations of the native reward that are withheld: {len(found.withheld)}")
    for line in (found.excerpt or "no source of the observation was found").splitlines():
        screen.say(f"  | {line}")


def _action(action: Mapping[str, Any]) -> str:
    if action["kind"] == "discrete":
        return f"one of {action['n']} choices"
    return f"{action['size']} numbers"


def _field(field: Field) -> str:
    low, high = ("–" if end is None else f"{end:g}" for end in (field.low, field.high))
    who = ", ".join(field.visible)
    return f"{field.name:24} {field.source:20} {field.unit:8} {low} … {high}  ({who})"
