"""The client for asyncio: made from the other one, and held to a real server."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import client.api
import client.candidates
import client.jobs
from client import aio, twins
from client.aio import AsyncClient
from client.transport import ApiProblem, Unreachable
from tests.databases import emptied
from tests.shells import stories


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


def test_what_is_committed_is_what_is_made_of_the_client():
    for name, text in twins.texts().items():
        found = (twins.THERE / f"{name}.py").read_text(encoding="utf-8")
        assert found == text, f"client/aio/{name}.py is not current: python -m client.twins"


@pytest.mark.parametrize(
    ("kind", "twin"),
    [
        (client.api.Client, aio.AsyncClient),
        (client.api.Jobs, aio.AsyncJobs),
        (client.jobs.Job, aio.AsyncJob),
        (client.candidates.Candidates, aio.AsyncCandidates),
        (client.candidates.Best, aio.AsyncBest),
    ],
)
def test_every_method_has_its_twin_with_the_same_parameters(kind, twin):
    for name, member in inspect.getmembers(kind):
        if name.startswith("_"):
            continue
        other = getattr(twin, name)
        if inspect.isfunction(member):
            mine, its = (list(inspect.signature(f).parameters.values()) for f in (member, other))
            assert [(p.name, p.kind, p.default) for p in mine] == [
                (p.name, p.kind, p.default) for p in its
            ]


def test_a_job_is_submitted_read_and_steered(server, store):
    async def story():
        async with AsyncClient(server) as client:
            job = await client.jobs.create("cartpole-park", iterations=2)
            assert [one.id async for one in client.jobs.list(status="queued")] == [job.id]
            assert (await job.cancel()).status == "cancelled"
            assert (await job.wait(5.0)).finished
            return [event.kind async for event in job.stream()]

    kinds = asyncio.run(story())
    assert (kinds[0], kinds[-1]) == ("job.created", "job.completed")


def test_what_came_of_a_job_is_read_and_saved(server, store, tmp_path):
    job_id = stories.a_finished_job(store)

    async def story():
        async with AsyncClient(server) as client:
            job = await client.jobs.get(job_id)
            assert [one.key async for one in job.candidates] == ["0.0", "0.1"]
            assert (await job.candidates["0.1"]).status == "rejected"
            assert {curve.arm for curve in await job.curves()} == {"0.0"}
            assert "def reward" in await job.best.source()
            return await job.best.save_bundle(tmp_path / "bundle.zip")

    assert asyncio.run(story()).read_bytes().startswith(b"PK")


def test_requests_wait_side_by_side(server, store):
    ids = [stories.a_finished_job(store) for _ in range(3)]

    async def story():
        async with AsyncClient(server) as client:
            return await asyncio.gather(*(client.jobs.get(job_id) for job_id in ids))

    assert [job.id for job in asyncio.run(story())] == ids


def test_refusals_and_silence_are_the_same_errors(server, monkeypatch):
    monkeypatch.setattr("client.aio.transport.PAUSE_SECONDS", 0.0)

    async def refused():
        async with AsyncClient(server) as client:
            await client.jobs.get("job_nobody")

    async def unheard():
        async with AsyncClient("http://127.0.0.1:9", timeout=0.2) as client:
            await client.tasks()

    with pytest.raises(ApiProblem, match="job"):
        asyncio.run(refused())
    with pytest.raises(Unreachable, match="no server answers"):
        asyncio.run(unheard())
