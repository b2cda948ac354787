"""Whatever the API can do, the Python client can do, or it is said here why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest
from starlette.routing import compile_path

from api.main import create_app
from client import Client
from core.settings import Settings
from core.storage import Store
from tests.builders import SOURCE
from tests.databases import emptied
from tests.shells import stories

Reach = Callable[[Client, Store], object]

OTHERWISE = {
    "read_health": "for whoever starts and stops servers",
    "read_readiness": "asked by `Client.ready`, which tells yes or no",
    "read_metrics": "for monitors",
    "list_problems": "a page for people; a problem that comes carries its whole text",
    "read_problem": "as list_problems",
}


def finished(client: Client, store: Store):
    return client.jobs.get(stories.a_finished_job(store))


def training(client: Client, store: Store):
    return client.jobs.get(stories.a_job_in_training(store))


def ended(client: Client, store: Store):
    return client.jobs.get(stories.a_failed_job(store))


def first(job) -> str:
    return next(iter(job.candidates)).id


def saved(job) -> None:
    with TemporaryDirectory() as folder:
        assert job.save_page(Path(folder) / "job.html").stat().st_size > 0


REACHES: dict[str, Reach] = {
    "create_job": lambda c, s: c.jobs.create("cartpole-park"),
    "estimate_job": lambda c, s: c.jobs.estimate("cartpole-park"),
    "list_jobs": lambda c, s: list(c.jobs.list()),
    "read_job": lambda c, s: finished(c, s).refresh(),
    "delete_job": lambda c, s: finished(c, s).delete(),
    "cancel_job": lambda c, s: training(c, s).cancel(),
    "pause_job": lambda c, s: training(c, s).pause(),
    "resume_job": lambda c, s: training(c, s).pause().resume(),
    "extend_job": lambda c, s: finished(c, s).extend(iterations=1),
    "retry_job": lambda c, s: ended(c, s).retry(),
    "fork_job": lambda c, s: finished(c, s).fork(),
    "list_events": lambda c, s: list(finished(c, s).stream()),
    "list_deliveries": lambda c, s: finished(c, s).deliveries(),
    "export_page": lambda c, s: saved(finished(c, s)),
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
def test_the_client_reaches(name, client, store, operations):
    answered: list[httpx2.Response] = []
    client._transport._http.event_hooks["response"].append(answered.append)
    REACHES[name](client, store)
    verb, path = operations[name]
    there = compile_path(path)[0]
    assert any(
        answer.is_success and answer.request.method == verb and there.match(answer.request.url.path)
        for answer in answered
    )
