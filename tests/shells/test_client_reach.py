"""Whatever the API can do, the Python client can do, or it is said here why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest
from starlette.routing import compile_path

from api.main import create_app
from client import Client
from core.settings import Settings
from core.storage import FolderArtifacts, Store
from tests.builders import SOURCE, a_preflight
from tests.databases import emptied
from tests.shells import stories


@dataclass(frozen=True)
class World:
    """What a call may work on: the server's database and files."""

    store: Store
    artifacts: FolderArtifacts


Reach = Callable[[Client, World], object]

OTHERWISE = {
    "read_health": "for whoever starts and stops servers",
    "read_readiness": "asked by `Client.ready`, which tells yes or no",
    "read_metrics": "for monitors",
    "list_problems": "a page for people; a problem that comes carries its whole text",
    "read_problem": "as list_problems",
}


def finished(client: Client, world: World):
    return client.jobs.get(stories.a_finished_job(world.store))


def training(client: Client, world: World):
    return client.jobs.get(stories.a_job_in_training(world.store))


def ended(client: Client, world: World):
    return client.jobs.get(stories.a_failed_job(world.store))


def first(job) -> str:
    return next(iter(job.candidates)).id


def saved(save: Callable[[Path], Path]) -> None:
    with TemporaryDirectory() as folder:
        assert save(Path(folder) / "file").stat().st_size > 0
        assert [path.name for path in Path(folder).iterdir()] == ["file"]


def taken_in(client: Client, world: World) -> None:
    with TemporaryDirectory() as folder:
        file = finished(client, world).save_history(Path(folder) / "job.jsonl")
        assert client.jobs.take_in(file).status == "queued"


def a_file(client: Client, world: World) -> None:
    job_id = stories.a_new_job(world.store)
    kept = world.artifacts.put(b"a probe set")
    with stories.step(world.store, job_id, "preflight") as claim:
        claim.add_preflight(a_preflight(probe=kept))
    saved(lambda path: client.jobs.get(job_id).save_artifact(kept, path))


def two(job) -> list[str]:
    return [candidate.id for candidate in job.candidates]


REACHES: dict[str, Reach] = {
    "create_job": lambda c, s: c.jobs.create("cartpole-park"),
    "estimate_job": lambda c, s: c.jobs.estimate("cartpole-park"),
    "list_jobs": lambda c, s: list(c.jobs.list()),
    "read_job": lambda c, s: finished(c, s).refresh(),
    "delete_job": lambda c, s: finished(c, s).delete(),
    "cancel_job": lambda c, s: training(c, s).cancel(),
    "cancel_jobs": lambda c, s: c.jobs.cancel(training(c, s).id),
    "pause_job": lambda c, s: training(c, s).pause(),
    "resume_job": lambda c, s: training(c, s).pause().resume(),
    "extend_job": lambda c, s: finished(c, s).extend(iterations=1),
    "retry_job": lambda c, s: ended(c, s).retry(),
    "fork_job": lambda c, s: finished(c, s).fork(),
    "list_events": lambda c, s: list(finished(c, s).stream()),
    "list_deliveries": lambda c, s: finished(c, s).deliveries(),
    "export_page": lambda c, s: saved(finished(c, s).save_page),
    "export_job": lambda c, s: saved(finished(c, s).save_history),
    "import_job": taken_in,
    "download_bundle": lambda c, s: saved(finished(c, s).best.save_bundle),
    "describe_job": lambda c, s: finished(c, s).describe(notes="for the paper"),
    "list_job_rollouts": lambda c, s: finished(c, s).rollouts(),
    "list_rollouts": lambda c, s: (job := finished(c, s)).rollouts(first(job)),
    "read_artifact": a_file,
    "list_artifacts": lambda c, s: finished(c, s).artifacts(),
    "compare_candidates": lambda c, s: c.compare(*two(finished(c, s))),
    "diff_candidate": lambda c, s: c.diff(first(finished(c, s)), "native"),
    "read_run_metrics": lambda c, s: c.metrics(c.runs(first(finished(c, s)))[0].id, "return"),
    "read_usage": lambda c, s: c.usage(days=2),
    "list_workers": lambda c, s: c.workers(),
    "read_queue": lambda c, s: c.queue(),
    "list_iterations": lambda c, s: finished(c, s).iterations(),
    "read_iteration": lambda c, s: finished(c, s).iteration(0),
    "list_exchanges": lambda c, s: finished(c, s).exchanges(),
    "list_arms": lambda c, s: finished(c, s).arms(),
    "list_candidates": lambda c, s: list(finished(c, s).candidates),
    "list_native_runs": lambda c, s: finished(c, s).native_runs(),
    "list_feedback": lambda c, s: finished(c, s).feedback(),
    "add_feedback": lambda c, s: training(c, s).say("slower"),
    "give_program": lambda c, s: training(c, s).give(SOURCE.replace("Stay", "Mine: stay")),
    "list_programs": lambda c, s: training(c, s).programs(),
    "read_best": lambda c, s: finished(c, s).best.view(),
    "download_reward": lambda c, s: finished(c, s).best.source(),
    "read_candidate": lambda c, s: c.candidate(first(finished(c, s))),
    "read_code": lambda c, s: c.code(first(finished(c, s))),
    "list_runs": lambda c, s: c.runs(first(finished(c, s))),
    "read_run": lambda c, s: c.run(c.runs(first(finished(c, s)))[0].id),
    "search_library": lambda c, s: c.library("park"),
    "export_designer_dataset": lambda c, s: list(c.dataset()),
    "list_tasks": lambda c, s: c.tasks(),
    "read_task": lambda c, s: c.task("cartpole-park"),
    "list_methods": lambda c, s: c.methods(),
}


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture(scope="module")
def operations(tmp_path_factory) -> dict[str, tuple[str, str]]:
    """Verb and path of every operation, by its name."""
    app = create_app(Settings(home=tmp_path_factory.mktemp("home")), lambda *_: None)
    return {
        operation["operationId"]: (verb.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for verb, operation in methods.items()
    }


@pytest.fixture
def client(server) -> Iterator[Client]:
    with Client(server) as client:
        yield client


def test_every_operation_is_reached_or_left_out_on_purpose(operations):
    assert not set(REACHES) & set(OTHERWISE)
    assert set(operations) == set(REACHES) | set(OTHERWISE)


@pytest.mark.parametrize("name", REACHES)
def test_the_client_reaches(name, client, store, settings, operations):
    answered: list[httpx2.Response] = []
    client._transport._http.event_hooks["response"].append(answered.append)
    REACHES[name](client, World(store, FolderArtifacts(settings.artifacts_path)))
    verb, path = operations[name]
    there = compile_path(path)[0]
    assert any(
        answer.is_success and answer.request.method == verb and there.match(answer.request.url.path)
        for answer in answered
    )
