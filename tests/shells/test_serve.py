"""`rewardsmith serve` as a process: it starts, says where it is, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time

import httpx2
import pytest

from client.connections import MOST_HEAD
from tests.stack import Stack, eventually, family, gone, stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def here(tmp_path):
    with stack(tmp_path / "home") as made:
        yield made


def workers_of(process: subprocess.Popen[bytes]):
    """Wait for both workers and everything below them."""
    eventually(lambda: len(family(process.pid)) >= 3, 30, "two workers")
    return family(process.pid)[1:]


def test_an_embedded_server_makes_its_database_and_is_ready(here: Stack):
    here.serve("--workers", "0")
    assert httpx2.get(f"{here.url}/readyz").status_code == 200
    assert (here.home / "rewardsmith.db").is_file()


def test_a_killed_server_takes_its_workers_along(here: Stack):
    process = here.serve("--workers", "1")
    below = workers_of(process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    eventually(lambda: gone(below), 20, "no worker is left")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_stops_its_workers_first(here: Stack, stop):
    process = here.serve("--workers", "1")
    below = workers_of(process)
    process.send_signal(stop)
    process.wait(15)
    assert gone(below)


def test_a_worker_that_dies_is_started_again(here: Stack):
    process = here.serve("--workers", "1")
    first = workers_of(process)[0]
    eventually(lambda: time.time() - first.create_time() > 3.0, 10, "it has run for a while")
    first.kill()

    def replaced() -> bool:
        below = family(process.pid)[1:]
        return len(below) >= 2 and first.pid not in {child.pid for child in below}

    eventually(replaced, 20, "another worker")


def test_a_taken_port_is_refused_before_anything_is_started(here: Stack):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = here.run("serve", "--port", str(taken.getsockname()[1]), "--workers", "0")
    assert done.returncode == 2
    assert "--port" in done.stderr


def test_a_home_in_a_folder_of_environments_is_refused_by_server_and_doctor(tmp_path):
    with stack(tmp_path / "home", environment_paths=str(tmp_path)) as here:
        refused = here.run("serve", "--port", "0", "--workers", "1")
        assert refused.returncode == 2
        assert "REWARDSMITH_HOME" in refused.stderr
        assert not (here.home / "rewardsmith.db").exists()
        done = here.run("doctor")
    assert done.returncode == 1
    assert f"which generated code could read in {tmp_path}" in done.stdout


def test_a_postgresql_database_is_only_migrated_when_told_so(tmp_path, unmigrated_url):
    if unmigrated_url.startswith("sqlite"):
        return
    with stack(tmp_path / "home", database_url=unmigrated_url) as here:
        refused = here.run("serve", "--port", "0", "--workers", "0")
        assert refused.returncode == 2
        assert "rewardsmith db upgrade" in refused.stderr
        here.serve("--workers", "0", "--migrate")
        assert httpx2.get(f"{here.url}/readyz").status_code == 200


def test_the_doctor_finds_this_machine_sound(here: Stack):
    done = here.run("doctor")
    assert done.returncode == 0, done.stdout
    assert "isolation level" in done.stdout


def test_the_doctor_names_a_fix_for_what_does_not_work(tmp_path):
    with stack(tmp_path / "home", broker_url="redis://127.0.0.1:1/0") as here:
        done = here.run("doctor")
    assert done.returncode == 1
    assert "REWARDSMITH_BROKER_URL" in done.stdout


def test_an_interrupted_demo_leaves_no_process_and_says_how_to_go_on(here: Stack):
    process = here.start("demo", "--home", str(here.home))
    log = here.home / "demo-0.log"
    eventually(lambda: "The environment is usable" in log.read_text(), 60, "the job is under way")
    below = family(process.pid)[1:]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "rewardsmith jobs watch job_" in log.read_text()
    eventually(lambda: gone(below), 20, "nothing is left")


def test_a_server_that_others_can_reach_does_not_start_before_somebody_has_a_key(here: Stack):
    process = here.start("serve", "--host", "0.0.0.0", "--port", "0", "--workers", "0")
    assert process.wait(30) == 2
    assert "rewardsmith keys create OWNER" in (here.home / "serve-0.log").read_text()


def test_with_a_key_the_same_command_works_from_elsewhere(here: Stack):
    assert here.run("db", "upgrade").returncode == 0
    made = json.loads(here.run("keys", "create", "alice", "--name", "ci", "--json").stdout)
    here.serve("--host", "0.0.0.0", "--workers", "0")
    here.url = here.url.replace("0.0.0.0", "127.0.0.1")
    refused = here.run("jobs", "ls")
    assert (refused.returncode, "REWARDSMITH_API_KEY" in refused.stderr) == (2, True)
    assert here.run("--key", made["key"], "design", "cartpole-park").returncode == 0
    here.settings = {**here.settings, "REWARDSMITH_API_KEY": made["key"]}
    listed = json.loads(here.run("jobs", "ls", "--json").stdout)
    told = json.loads(here.run("audit", "--owner", "alice", "--json").stdout)["data"]
    assert [entry["subject"] for entry in told] == [listed["data"][0]["id"]]
    assert made["id"] in here.run("keys", "list").stdout
    assert here.run("keys", "revoke", made["id"]).returncode == 0
    assert here.run("jobs", "ls").returncode == 2


def test_on_the_loopback_keys_can_be_demanded_too(tmp_path):
    """Behind a reverse proxy everybody comes from the loopback."""
    with stack(tmp_path / "home", keys="always") as here:
        process = here.start("serve", "--port", "0", "--workers", "0")
        assert process.wait(30) == 2
        assert "keys are demanded" in (here.home / "serve-0.log").read_text()


def test_several_processes_serve_one_address_and_count_together(here: Stack):
    process = here.serve("--workers", "0", "--processes", "2")
    servers = eventually(
        lambda: len(family(process.pid)) == 3 and family(process.pid)[1:], 30, "two"
    )
    for _ in range(20):  # a connection each: any of them may take it
        assert httpx2.get(f"{here.url}/v1/tasks").status_code == 200
    counted = 'rewardsmith_requests_total{method="GET",route="/v1/tasks",status="200"} 20.0'
    for _ in range(10):
        assert counted in httpx2.get(f"{here.url}/metrics").text
    host, port = here.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nx: ".ljust(MOST_HEAD, b"y"))
        assert connection.recv(12) == b"HTTP/1.1 431"

    servers[0].kill()
    eventually(lambda: not servers[0].is_running(), 10, "it is dead")
    assert httpx2.get(f"{here.url}/v1/tasks").status_code == 200
    eventually(lambda: len(family(process.pid)) == 3, 30, "another one in its place")

    below = family(process.pid)[1:]
    process.send_signal(signal.SIGTERM)
    process.wait(15)
    assert gone(below)
