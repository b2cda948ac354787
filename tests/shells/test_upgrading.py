"""Old and new side by side: workers of two versions, and a server that is replaced under traffic."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import psycopg
import pytest

import migrations
from core.storage import open_store
from tests.chaos.children import free_port
from tests.chaos.provider import PROGRAM, answer
from tests.databases import fresh_database
from tests.stack import QUICK_TASK, Stack, eventually, stack, valkey_url

# Real servers and workers, started and ended several times: a minute each.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NEXT = "9999"
# What a migration of the next version may do: it adds.
NEXT_SCHEMA = (
    "ALTER TABLE jobs ADD COLUMN future TEXT DEFAULT 'unknown to the old version'",
    "ALTER TABLE claims ADD COLUMN mood DOUBLE PRECISION",
    "CREATE TABLE futures (id TEXT PRIMARY KEY)",
    f"UPDATE alembic_version SET version_num = '{NEXT}'",
)
# The next version is this one that expects the next schema.
NEXT_VERSION = f"""
import core.storage.store
core.storage.store.HEAD = "{NEXT}"
from client.cli import main
main()
"""


@pytest.fixture
def here(tmp_path, postgres) -> Iterator[Stack]:
    with fresh_database(postgres) as url, valkey_url() as broker:
        migrations.upgrade(url)
        with stack(tmp_path / "home", database_url=url, broker_url=broker) as made:
            yield made


def upgrade(here: Stack) -> None:
    with psycopg.connect(here.settings["REWARDSMITH_DATABASE_URL"], autocommit=True) as connection:
        for statement in NEXT_SCHEMA:
            connection.execute(statement)


def test_a_job_passes_from_an_old_worker_to_a_new_one(here, monkeypatch):
    here.serve("--workers", "0")
    old = here.worker()
    job = here.post("/v1/jobs", {**QUICK_TASK, "iterations": 4})["id"]
    here.wait_for(job, "baseline")
    upgrade(here)
    before = steps_done(here, old)
    eventually(lambda: steps_done(here, old) > before, 60, "the old one goes on on the new schema")
    here.post(f"/v1/jobs/{job}/pause")  # a worker takes longer to start than such a job to end
    eventually(lambda: here.job(job)["status"] == "paused", 60, "the job rests")
    monkeypatch.setattr("tests.stack.COMMAND", [sys.executable, "-c", NEXT_VERSION])
    new = here.worker()
    eventually(lambda: "worker starts" in log_of(here, new), 60, "the new worker starts")
    here.post(f"/v1/jobs/{job}/resume")
    begun = time.monotonic()
    old.send_signal(signal.SIGTERM)
    assert old.wait(30) == 0
    assert time.monotonic() - begun < 30
    assert here.finished(job)["status"] == "succeeded"
    assert steps_done(here, new) > 0
    assert vanished(here, job) == [], "steps were given back, not left to lapse"


def test_an_old_version_does_not_start_on_the_new_schema(here):
    upgrade(here)
    done = here.run("worker")
    assert done.returncode == 2
    assert NEXT in done.stderr


def test_a_worker_that_is_told_to_stop_hands_its_step_to_another_at_once(here):
    here.settings = {**here.settings, "REWARDSMITH_LEASE_SECONDS": "120"}
    here.serve("--workers", "0")
    first = here.worker()
    long = {**QUICK_TASK, "training": {"steps": 20_000_000, "seeds": 1}}
    job = here.post("/v1/jobs", long)["id"]
    here.wait_for(job, "baseline")
    second = here.worker()
    eventually(lambda: "worker starts" in log_of(here, second), 60, "the other worker starts")
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    here.wait_for(job, "baseline", seconds=20)  # a lease would last for two minutes
    assert vanished(here, job) == []
    here.post(f"/v1/jobs/{job}/cancel")


class Thoughtful(BaseHTTPRequestHandler):
    """A model that answers when the test lets it."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(asked)
        number = len(self.server.asked)
        self.server.thought.wait(60)
        body = answer(PROGRAM.format(weight=number, scale=number))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def model() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Thoughtful)
    server.asked, server.thought, server.daemon_threads = [], threading.Event(), True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.thought.set()
    server.shutdown()
    server.server_close()
    thread.join()


def asks(here: Stack, model: ThreadingHTTPServer) -> None:
    """Let workers ask the model, and end when its answers have come or after a minute."""
    own = {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{model.server_port}/v1",
        "OPENAI_API_KEY": "sk-local",
        "OPENAI_MODEL": "m",
        "STOP_SECONDS": "60",
    }
    named = {f"REWARDSMITH_{name}": value for name, value in own.items()}
    here.settings = {**here.settings, **named, "NO_PROXY": "*"}


def thought_about(here: Stack, model: ThreadingHTTPServer) -> str:
    """Submit a job, and wait until the model thinks about both its slots."""
    job = here.post("/v1/jobs", {**QUICK_TASK, "screens": [], "designer": {"name": "openai"}})["id"]
    eventually(lambda: len(model.asked) == 2, 60, "both slots are asked for")
    return str(job)


def test_answers_on_their_way_to_a_worker_that_is_told_to_stop_are_paid_for_once(here, model):
    asks(here, model)
    here.serve("--workers", "0")
    first = here.worker()
    job = thought_about(here, model)
    second = here.worker()
    eventually(lambda: "worker starts" in log_of(here, second), 60, "the other worker starts")
    first.send_signal(signal.SIGTERM)
    eventually(lambda: "worker stops" in log_of(here, first), 30, "it is told")
    held = holds(here, job)
    for _ in range(
        3
    ):  # renewals come every second, and a step that runs notices within half of one
        eventually(lambda held=held: holds(here, job) != held, 30, "it is renewed")
        assert holds(here, job)[0] == held[0], "another one took it"
        held = holds(here, job)
    model.thought.set()
    assert first.wait(30) == 0
    assert '"step interrupted"' in log_of(here, first)
    assert here.finished(job)["status"] == "succeeded"
    assert len(model.asked) == 2
    assert vanished(here, job) == []


def test_answers_to_a_job_that_was_paused_before_its_worker_was_told_to_stop_are_not_lost(
    here, model
):
    """Nobody holds its step any more, and what was asked is paid for."""
    asks(here, model)
    here.serve("--workers", "0")
    first = here.worker()
    job = thought_about(here, model)
    here.post(f"/v1/jobs/{job}/pause")
    eventually(lambda: here.job(job)["status"] == "paused", 60, "the job rests")
    first.send_signal(signal.SIGTERM)
    eventually(lambda: "worker stops" in log_of(here, first), 30, "it is told")
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(3)  # it used to end within one
    model.thought.set()
    assert first.wait(30) == 0
    here.worker()
    here.post(f"/v1/jobs/{job}/resume")
    assert here.finished(job)["status"] == "succeeded"
    assert len(model.asked) == 2


def test_a_worker_whose_server_died_stores_the_answers_on_their_way_and_gives_its_step_back(
    here, model
):
    asks(here, model)
    server = here.serve("--workers", "1")
    job = thought_about(here, model)
    server.kill()
    server.wait()
    held = holds(here, job)
    for _ in range(12):  # as many seconds and more: whoever waits for nothing is gone by then
        eventually(lambda held=held: holds(here, job) != held, 30, "it is renewed")
        held = holds(here, job)
        assert held[0], "it was given back before the answers came"
    model.thought.set()
    eventually(lambda: holds(here, job)[0] is None, 30, "the step is given back")
    here.serve("--workers", "1")
    assert here.finished(job)["status"] == "succeeded"
    assert len(model.asked) == 2


def holds(here: Stack, job: str) -> tuple:
    """Return who has the first proposal, and when that was last renewed."""
    query = "SELECT owner, heartbeat_at FROM claims WHERE job_id = %s AND step_key = 'propose/0'"
    with psycopg.connect(here.settings["REWARDSMITH_DATABASE_URL"]) as connection:
        return connection.execute(query, [job]).fetchone()


def test_a_server_that_is_replaced_under_traffic_loses_no_accepted_job(here):
    port = free_port()
    serve(here, port)
    accepted, wrong, enough = {}, [], threading.Event()
    clients = [threading.Thread(target=submit, args=(port, accepted, wrong, enough)) for _ in "123"]
    for client in clients:
        client.start()
    for more in (20, 40, 60):
        eventually(lambda more=more: len(accepted) > more, 60, "traffic")
        here.processes[-1].send_signal(signal.SIGTERM)
        assert here.processes[-1].wait(30) == 0
        serve(here, port)
    eventually(lambda: len(accepted) > 80, 60, "traffic after the last one")
    enough.set()
    for client in clients:
        client.join(60)
    assert wrong == []
    store = open_store(here.settings["REWARDSMITH_DATABASE_URL"])
    stored = store.unfinished_jobs()
    store.close()
    assert sorted(stored) == sorted(accepted.values()), "each once, and none besides"


def serve(here: Stack, port: int) -> None:
    here.start("serve", "--port", str(port), "--workers", "0")
    eventually(lambda: answers(port), 60, "the server answers")


def answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200
    except httpx2.TransportError:
        return False


def submit(port: int, accepted: dict[str, str], wrong: list[str], enough: threading.Event) -> None:
    """Submit one job after the other; one that got no answer is sent again under the same key."""
    while not enough.is_set():
        key = str(uuid.uuid4())
        while key not in accepted:
            try:
                answer = httpx2.post(
                    f"http://127.0.0.1:{port}/v1/jobs",
                    json={"task": "cartpole-park"},
                    headers={"Idempotency-Key": key},
                    timeout=20,
                )
            except httpx2.TransportError:
                continue
            if answer.status_code != 202:
                wrong.append(f"{answer.status_code}: {answer.text[:200]}")
                return
            accepted[key] = answer.json()["id"]


def log_of(here: Stack, process) -> str:
    number = here.processes.index(process)
    return next(here.home.glob(f"*-{number}.log")).read_text()


def steps_done(here: Stack, process) -> int:
    return log_of(here, process).count('"step done"')


def vanished(here: Stack, job: str) -> list[str]:
    told = here.get(f"/v1/jobs/{job}/events?limit=1000")["data"]
    return [event["message"] for event in told if "vanished" in event["message"]]
