"""`rewardsmith jobs`: list, show, watch, cancel, pause, resume."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from client.api import Client, Job
from client.commands.design import follow, usual_file
from client.console import WAITING, JsonFlag, Screen
from client.saving import check_writable
from client.summary import number

app = typer.Typer(help="Look at design jobs and steer them.", no_args_is_help=True)
JobId = Annotated[str, typer.Argument(help="Id of the job.")]


@app.command("ls")
def ls(
    status: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    task: Annotated[str | None, typer.Option(help="Only jobs for this task.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    json_output: JsonFlag = False,
) -> None:
    """List jobs, newest first."""
    screen = Screen(json_output)
    with Client() as client:
        found = list(itertools.islice(client.jobs.list(status=status, task=task), limit))
    screen.emit({"data": [job.document for job in found]})
    if not found:
        screen.say("No jobs. Start one with: rewardsmith design cartpole-park --watch")
    for job in found:
        screen.say(_line(job))


def _line(job: Job) -> str:
    document = job.document
    best = document["best"]["fitness"] if document["best"] else None
    return (
        f"{job.id}  {job.status:9}  {document['spec']['task']['name']:24} "
        f"best {number(best):>8}  native {number(document['native_fitness']):>8}  "
        f"{document['name'] or ''}"
    ).rstrip()


@app.command("show")
def show(job_id: JobId, json_output: JsonFlag = False) -> None:
    """Show where a job stands."""
    screen = Screen(json_output)
    with Client() as client:
        show_job(client.jobs.get(job_id), screen)


@app.command("watch")
def watch_job(
    job_id: JobId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to save the best reward.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Follow a job to its end and save the best reward; of a finished one only with -o."""
    check_writable(output)
    with Client() as client:
        job = client.jobs.get(job_id)
        target = output or (None if job.finished else usual_file(job))
        raise typer.Exit(follow(job, Screen(json_output), target))


@app.command("cancel")
def cancel(job_id: JobId, json_output: JsonFlag = False) -> None:
    """Ask for the end of a job; what it has so far stays."""
    with Client() as client:
        show_job(client.jobs.get(job_id).cancel(), Screen(json_output))


@app.command("pause")
def pause(job_id: JobId, json_output: JsonFlag = False) -> None:
    """Let a job rest."""
    with Client() as client:
        show_job(client.jobs.get(job_id).pause(), Screen(json_output))


@app.command("resume")
def resume(job_id: JobId, json_output: JsonFlag = False) -> None:
    """Let a paused job go on."""
    with Client() as client:
        show_job(client.jobs.get(job_id).resume(), Screen(json_output))


@app.command("rm")
def remove(job_id: JobId, json_output: JsonFlag = False) -> None:
    """Delete a job that has ended, with all it owns."""
    screen = Screen(json_output)
    with Client() as client:
        client.jobs.get(job_id).delete()
    screen.emit({"deleted": job_id})
    screen.say(f"Job {job_id} and all it owned is deleted.")


def show_job(job: Job, screen: Screen) -> None:
    """Tell where a job stands."""
    document = job.document
    counts = document["counts"]
    screen.emit(document)
    screen.say(_line(job))
    screen.say(f"phase      {WAITING if job.status == 'queued' else document['phase'] or '–'}")
    screen.say(
        f"candidates {counts['proposed']} proposed, {counts['rejected']} rejected, "
        f"{counts['trained']} trained, {counts['failed']} failed"
    )
    screen.say(f"used       {document['spent']['env_steps']:,} environment steps")
    for wish, granted in (("cancel", "cancelled"), ("pause", "paused")):
        if document[f"{wish}_requested"] and not job.finished and job.status != granted:
            screen.say(f"asked for  {wish}")
    for item in document["activity"]:
        if item["phase"] == "waiting":
            screen.say(f"waiting    {item['step']}: {item['note']}")
    if document["outcome"] is not None:
        screen.say(document["outcome"]["sentence"])
    if document["failure"] is not None:
        screen.say(f"{document['failure']['title']}: {document['failure']['detail']}")
