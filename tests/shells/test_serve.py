"""`rewardsmith serve` as a process: it starts, says where it is, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

import httpx2
import pytest

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
    assert process.wait(20) == 130
    assert "rewardsmith jobs watch job_" in log.read_text()
    eventually(lambda: gone(below), 20, "nothing is left")
