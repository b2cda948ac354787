"""The command against a real server: what it says, in text and in JSON, and how it exits."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client import transport
from client.cli import app as command
from client.commands import design
from client.console import FAILED, INTERRUPTED, OK, UNREACHABLE, USAGE
from core.designers.replay import ReplayDesigner
from core.records import Ask
from tests.shells import stories


@pytest.fixture
def database_url(sqlite_url):
    return sqlite_url


@pytest.fixture
def run(server, monkeypatch, tmp_path):
    """Run the command in an empty folder against the server."""
    monkeypatch.setenv("REWARDSMITH_API_URL", server)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str):
        return CliRunner().invoke(command, [*arguments])

    return invoke


def lines(result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


# --- submitting -------------------------------------------------------------------------------


def test_a_design_is_submitted_and_the_answer_says_how_to_follow_it(run):
    result = run("design", "cartpole-park", "--iterations", "1", "--steps", "1000")
    assert result.exit_code == OK
    assert "rewardsmith jobs watch job_" in result.stdout


def test_options_go_where_the_request_wants_them(run):
    options = ["--method", "eureka", "--steps", "5000", "--seeds", "3", "--model", "m"]
    result = run("design", "Ant-v5", "Run.", "--designer", "openai", *options, "--json")
    spec = lines(result)[0]["spec"]
    assert (spec["method"], spec["task"]["description"]) == ("eureka", "Run.")
    assert (spec["designer"]["name"], spec["designer"]["model"]) == ("openai", "m")
    assert (spec["training"]["steps"], spec["training"]["seeds"]) == (5000, 3)


def test_a_request_in_a_file_is_taken_and_options_go_over_it(run, tmp_path):
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"task": "pendulum", "training": {"steps": 7000, "seeds": 1}}))
    spec = lines(run("design", "--file", str(file), "--seeds", "2", "--json"))[0]["spec"]
    assert (spec["task"]["name"], spec["training"]["steps"]) == ("pendulum", 7000)
    assert spec["training"]["seeds"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["design"], "no task", id="nothing to design"),
        pytest.param(["design", "cartpole-prak"], "Did you mean", id="a misspelt task"),
        pytest.param(["design", "Ant-v5"], "description", id="an environment without words"),
        pytest.param(["design", "cartpole", "--iterations", "99"], "/iterations", id="too much"),
        pytest.param(["design", "--file", "none.json"], "none.json", id="a file that is not there"),
        pytest.param(["jobs", "show", "job_x"], "no job", id="an unknown job"),
        pytest.param(["best", "job_x"], "no job", id="the best of an unknown job"),
        pytest.param(["jobs", "fly"], "fly", id="an unknown command"),
        pytest.param(["design", "cartpole", "--seeds", "two"], "seeds", id="a number in words"),
    ],
)
def test_a_wrong_request_is_usage_and_says_why(run, arguments, words):
    result = run(*arguments)
    assert result.exit_code == USAGE
    assert words in result.stderr
    assert result.stdout == ""


def test_a_refusal_in_json_is_the_whole_problem(run):
    result = run("design", "cartpole-prak", "--json")
    assert result.exit_code == USAGE
    assert json.loads(result.stderr)["error"]["code"] == "unknown-task"


# --- watching ---------------------------------------------------------------------------------


def test_a_finished_job_is_told_with_verdict_intervals_and_code_and_its_reward_is_saved(
    run, store, tmp_path
):
    job_id = stories.a_finished_job(store)
    result = run("jobs", "watch", job_id, "-o", "best.py")
    assert result.exit_code == OK
    assert "better: the designed reward beats the native one" in result.stdout
    assert "0.83  95 % interval [0.8, 0.9] over 3 fresh seeds" in result.stdout
    assert "def reward" in result.stdout
    assert "\x1b[" not in result.stdout
    assert (tmp_path / "best.py").is_file()


def test_the_last_line_of_json_is_the_result(run, store, tmp_path):
    job_id = stories.a_finished_job(store)
    last = lines(run("jobs", "watch", job_id, "--json"))[-1]
    seconds = last.pop("seconds")
    assert last == {
        "job_id": job_id,
        "verdict": "better",
        "fitness": {
            "native": {"mean": 0.2, "low": 0.1, "high": 0.3, "n": 3},
            "designed": {"mean": 0.83, "low": 0.8, "high": 0.9, "n": 3},
        },
        "iterations": 1,
        "candidates": {"proposed": 2, "rejected": 1, "trained": 1},
        "env_steps": store.job(job_id).spent.env_steps,
        "reward_file": str(tmp_path / f"reward_{job_id[-8:]}.py"),
    }
    assert seconds >= 0


def test_a_failed_job_is_told_with_its_reason(run, store):
    result = run("jobs", "watch", stories.a_failed_job(store))
    assert result.exit_code == FAILED
    assert "no such environment" in result.stdout


def test_a_cancelled_job_is_no_success(run, store):
    job_id = stories.a_new_job(store)
    store.request_cancel(job_id)
    result = run("jobs", "watch", job_id, "--json")
    assert result.exit_code == FAILED
    assert lines(result)[-1]["verdict"] is None


def test_an_interrupted_watcher_says_how_to_look_again(run, store, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    job_id = stories.a_new_job(store)
    monkeypatch.setattr(design, "watch", interrupted)
    result = run("jobs", "watch", job_id)
    assert result.exit_code == INTERRUPTED
    assert f"rewardsmith jobs watch {job_id}" in result.stderr
    assert store.job(job_id).status == "queued"


def test_a_recording_of_a_watched_job_can_be_replayed(run, store, tmp_path, monkeypatch):
    job_id = stories.a_finished_job(store)
    # As if a worker had finished the job between its creation and the first look at it.
    monkeypatch.setattr("client.api.Jobs.create", lambda jobs, **_: jobs.get(job_id))
    result = run("design", "cartpole", "--watch", "--record", "talk.json")
    assert result.exit_code == OK
    exchange = stories.an_exchange()
    replay = ReplayDesigner(tmp_path / "talk.json")
    reply = replay.answer(Ask(0, 0, 0, None, exchange.prompt))
    assert (reply.text, reply.notes) == (exchange.reply.text, ())


# --- looking and steering ---------------------------------------------------------------------


def test_jobs_are_listed_newest_first_with_what_they_reached(run, store):
    ids = [stories.a_new_job(store, name="first"), stories.a_finished_job(store)]
    rows = run("jobs", "ls").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ids[::-1]
    assert "succeeded" in rows[0]
    assert rows[1].endswith("first")
    assert len(lines(run("jobs", "ls", "--limit", "1", "--json"))[0]["data"]) == 1


def test_an_empty_list_says_how_to_begin(run):
    assert "rewardsmith design" in run("jobs", "ls").stdout


@pytest.mark.parametrize(("verb", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_job_is_steered(run, store, verb, status):
    job_id = stories.a_new_job(store)
    assert status in run("jobs", verb, job_id).stdout
    assert store.job(job_id).status == status


def test_a_paused_job_is_resumed(run, store):
    job_id = stories.a_new_job(store)
    run("jobs", "pause", job_id)
    assert lines(run("jobs", "resume", job_id, "--json"))[0]["status"] == "queued"


def test_steering_a_finished_job_says_what_can_be_done(run, store):
    result = run("jobs", "cancel", stories.a_finished_job(store))
    assert result.exit_code == USAGE
    assert "submit a new one" in result.stderr


def test_a_job_is_shown_with_its_counts_and_its_verdict(run, store):
    shown = run("jobs", "show", stories.a_finished_job(store)).stdout
    assert "2 proposed, 1 rejected, 1 trained" in shown
    assert "The designed reward is better" in shown


def test_the_best_reward_is_shown_or_saved(run, store, tmp_path):
    job_id = stories.a_finished_job(store)
    shown = run("best", job_id).stdout
    assert run("best", job_id, "-o", "r.py").exit_code == OK
    assert (tmp_path / "r.py").read_text() == shown
    assert lines(run("best", job_id, "--json"))[0]["source"] == shown


def test_the_catalogue_is_listed(run):
    assert "cartpole-park" in run("tasks").stdout
    assert "smith" in run("methods").stdout
    assert lines(run("tasks", "--json"))[0]["data"]
    assert lines(run("methods", "--json"))[0]["designers"]


# --- no server --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["jobs", "ls"], ["design", "cartpole"], ["tasks"]])
def test_where_nobody_answers_the_command_says_how_to_start_one(monkeypatch, arguments):
    monkeypatch.setattr(transport, "PAUSE_SECONDS", 0.001)
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("REWARDSMITH_API_URL", f"http://127.0.0.1:{port}")
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == UNREACHABLE
    assert "rewardsmith serve" in result.stderr


@pytest.mark.parametrize("address", ["nonsense", "ftp://x", "http://"])
def test_an_address_that_is_none_is_unreachable(monkeypatch, address):
    monkeypatch.setattr(transport, "PAUSE_SECONDS", 0.001)
    monkeypatch.setenv("REWARDSMITH_API_URL", address)
    assert CliRunner().invoke(command, ["jobs", "ls"]).exit_code == UNREACHABLE


# --- this machine -----------------------------------------------------------------------------


def test_the_database_is_upgraded_as_often_as_one_likes(monkeypatch, tmp_path):
    monkeypatch.setenv("REWARDSMITH_HOME", str(tmp_path / "home"))
    for _ in range(2):
        assert CliRunner().invoke(command, ["db", "upgrade"]).exit_code == OK
    assert (tmp_path / "home" / "rewardsmith.db").is_file()


def test_a_setting_that_cannot_be_read_is_named(monkeypatch):
    monkeypatch.setenv("REWARDSMITH_API_PORT", "many")
    result = CliRunner().invoke(command, ["db", "upgrade"])
    assert result.exit_code == USAGE
    assert "REWARDSMITH_API_PORT" in result.stderr


def test_the_command_starts_without_loading_anything_heavy():
    code = (
        "import sys; import client.cli; "
        "print([m for m in ('torch', 'gymnasium', 'sqlalchemy', 'fastapi', 'celery', 'numpy') "
        "if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
