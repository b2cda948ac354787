"""`rewardsmith feedback`, `give`, `extend`, `retry`, `fork`, `library`: people take part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.api import Client
from client.commands.design import read_program_file, starts
from client.commands.jobs import JobId, show_job
from client.console import JsonFlag, Screen
from core.errors import InvalidInput

if TYPE_CHECKING:
    from api.people_views import LibraryItemView

Candidate = Annotated[
    str | None, typer.Option("--candidate", "-c", help="Key such as 0.3, or id, of a candidate.")
]
Files = Annotated[
    list[Path] | None, typer.Option("--start", help="A program of yours to be measured next.")
]
WORDS = {"up": 1, "down": -1}


def feedback(
    job_id: JobId,
    text: Annotated[str | None, typer.Argument(help="What you think, in words.")] = None,
    candidate: Candidate = None,
    thumb: Annotated[str | None, typer.Option(help="up or down, of the candidate.")] = None,
    over: Annotated[
        str | None, typer.Option(help="The candidate that is not as good as --candidate.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Say what you think of a candidate or of the whole job; the next prompts quote your words."""
    screen = Screen(json_output)
    _check_judgement(text, candidate, thumb, over)
    with Client() as client:
        job = client.jobs.get(job_id)
        if thumb is not None:
            said = job.thumb(str(candidate), WORDS[thumb] > 0, text or "")
        elif over is not None:
            said = job.prefer(str(candidate), over, 1, text or "")
        else:
            said = job.say(str(text), candidate)
    screen.emit(said.model_dump(mode="json"))
    screen.say(f"Remark {said.number} is kept; it enters the next iteration.")


def _check_judgement(
    text: str | None, candidate: str | None, thumb: str | None, over: str | None
) -> None:
    if thumb is not None and thumb not in WORDS:
        raise InvalidInput(repr(thumb), expected="up or down", where="--thumb")
    if (thumb is not None or over is not None) and candidate is None:
        raise InvalidInput("no candidate", expected="--candidate with a thumb or a preference")
    if thumb is not None and over is not None:
        raise InvalidInput("both", expected="either --thumb or --over")
    if thumb is None and over is None and not text:
        raise InvalidInput("nothing", expected="words, --thumb or --over")


def give(
    job_id: JobId,
    file: Annotated[Path, typer.Argument(help="The program, a Python file.")],
    parent: Annotated[
        str | None, typer.Option(help="The candidate that it is an edit of: key or id.")
    ] = None,
    note: Annotated[str, typer.Option(help="What was done, in words.")] = "",
    json_output: JsonFlag = False,
) -> None:
    """Hand in a program of yours, to be measured as a candidate of the next iteration."""
    screen = Screen(json_output)
    source = read_program_file(file)
    with Client() as client:
        kept = client.jobs.get(job_id).give(source, parent, note)
    screen.emit(kept.model_dump(mode="json"))
    screen.say(f"Program {kept.number} is kept; it becomes a candidate of the next iteration.")


def extend(
    job_id: JobId,
    iterations: Annotated[int | None, typer.Option(help="Further rounds of refinement.")] = None,
    max_env_steps: Annotated[int | None, typer.Option(help="New limit of the whole job.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="New limit of the whole job.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="New limit of the whole job.")] = None,
    max_money: Annotated[float | None, typer.Option(help="New limit in US dollars.")] = None,
    start: Files = None,
    json_output: JsonFlag = False,
) -> None:
    """Let a job go on for longer, finished or not; it is confirmed again on fresh seeds."""
    limits = {
        "env_steps": max_env_steps,
        "tokens": max_tokens,
        "seconds": max_seconds,
        "money": max_money,
    }
    budget = {name: value for name, value in limits.items() if value is not None}
    more: dict[str, Any] = {"iterations": iterations, "budget": budget, "start": starts(start)}
    with Client() as client:
        wanted = {name: value for name, value in more.items() if value}
        job = client.jobs.get(job_id).extend(**wanted)
    show_job(job, Screen(json_output))


def retry(job_id: JobId, json_output: JsonFlag = False) -> None:
    """Let a failed or cancelled job go on, once its cause was mended."""
    with Client() as client:
        show_job(client.jobs.get(job_id).retry(), Screen(json_output))


def fork(
    job_id: JobId,
    candidate: Candidate = None,
    iterations: Annotated[int | None, typer.Option(help="Rounds of refinement.")] = None,
    candidates: Annotated[int | None, typer.Option(help="Candidates per iteration.")] = None,
    method: Annotated[str | None, typer.Option(help="See `rewardsmith methods`.")] = None,
    designer: Annotated[str | None, typer.Option(help="evolution, openai or replay.")] = None,
    model: Annotated[str | None, typer.Option(help="Model of the designer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same job.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    json_output: JsonFlag = False,
) -> None:
    """Submit another job for the same task that starts from a candidate, by default the best."""
    writer = {"name": designer, "model": model}
    chosen: dict[str, Any] = {
        "iterations": iterations,
        "candidates": candidates,
        "method": method,
        "designer": {key: value for key, value in writer.items() if value is not None} or None,
        "seed": seed,
        "name": name,
    }
    overrides = {key: value for key, value in chosen.items() if value is not None}
    with Client() as client:
        job = client.jobs.get(job_id).fork(candidate, **overrides)
    show_job(job, Screen(json_output))


def library(
    query: Annotated[str | None, typer.Argument(help="Words of the task, or fields.")] = None,
    task: Annotated[str | None, typer.Option(help="Only designs for this task.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many at most.")] = 10,
    json_output: JsonFlag = False,
) -> None:
    """Find finished designs."""
    screen = Screen(json_output)
    with Client() as client:
        found = client.library(query, task=task, limit=limit)
    screen.emit({"data": [item.model_dump(mode="json") for item in found]})
    if not found:
        screen.say("No finished design fits.")
    for item in found:
        screen.say(_line(item))


def _line(item: LibraryItemView) -> str:
    return f"{item.job}  {item.task.name:24} {item.verdict:6}  {item.evidence}"
