"""The live picture: what stands on the terminal while a job is watched."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from client.api import Client
from client.picture import draw
from client.tally import Tally
from client.transport import StreamedEvent
from tests.databases import emptied
from tests.shells import stories


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture
def tally(server, store):
    with Client(server) as client:
        yield Tally(client.jobs.get(stories.a_new_job(store)).document)


def shown(tally: Tally) -> str:
    console = Console(file=io.StringIO(), width=300)
    console.print(draw(tally))
    return console.file.getvalue()


def progress(status: str, waiting: bool = False, activity: tuple = ()) -> StreamedEvent:
    data = {"status": status, "waiting": waiting, "activity": list(activity)}
    return StreamedEvent("progress", data, None)


def test_a_job_that_nobody_takes_is_shown_as_waiting_for_a_worker(tally):
    tally.take(progress("queued"), 0.0)
    assert "waiting for a worker" not in shown(tally)
    tally.take(progress("queued", waiting=True), 4.0)
    assert "waiting for a worker" in shown(tally)


def test_a_step_that_rests_is_shown_with_its_reason_and_without_a_bar(tally):
    rest = {"step": "propose/1", "phase": "waiting", "done": 0, "total": 0, "note": "Patience."}
    tally.take(progress("running", activity=(rest,)), 0.0)
    line = next(line for line in shown(tally).splitlines() if "propose/1" in line)
    assert line.split() == ["propose/1", "waiting", "Patience."]
