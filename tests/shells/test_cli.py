"""The command against a real server: what it says, in text and in JSON, and how it exits."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from client import Client, transport
from client.checkup import artifact_folder, database, keys
from client.cli import app as command
from client.commands import design
from client.commands.serve import announce
from client.console import FAILED, INTERRUPTED, OK, UNREACHABLE, USAGE, Screen
from core.designers.replay import ReplayDesigner
from core.records.asking import Ask
from core.records.outcome import Ablated, Interval
from core.settings import Settings
from tests.builders import SOURCE, an_outcome
from tests.databases import emptied
from tests.shells import stories


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture
def settings(tmp_path, database_url):
    return Settings(home=tmp_path / "home", database_url=database_url, webhook_hosts="hooks.test")


@pytest.fixture(scope="module", autouse=True)
def built_once():
    """The tree of commands takes three quarters of a command's time to build, and never differs."""
    tree = get_command(command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", lambda _: tree)
        yield


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


def test_an_estimate_is_told_and_nothing_is_started(run, store):
    told = run("design", "cartpole-park", "--estimate", "--profile", "lean")
    assert "environment steps" in told.output
    assert "preflight" in told.output
    asked = ("--designer", "openai", "--model", "gpt-5-mini", "--max-money", "2")
    priced = run("design", "cartpole-park", "--estimate", *asked)
    assert "12 questions" in priced.output
    assert "about $" in priced.output
    assert store.jobs(after=None, limit=5).items == ()


def test_an_algorithm_and_a_warm_start_can_be_asked_for(run):
    result = run("design", "pendulum", "--algorithm", "sac", "--warm-start", "--json")
    training = lines(result)[0]["spec"]["training"]
    assert (training["algorithm"], training["warm_start"]) == ("sac", True)


def test_a_request_in_a_file_is_taken_and_options_go_over_it(run, tmp_path):
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"task": "pendulum", "training": {"steps": 7000, "seeds": 1}}))
    spec = lines(run("design", "--file", str(file), "--seeds", "2", "--json"))[0]["spec"]
    assert (spec["task"]["name"], spec["training"]["steps"]) == ("pendulum", 7000)
    assert spec["training"]["seeds"] == 2


def test_an_option_over_something_else_than_an_object_is_refused(run, tmp_path):
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"task": "pendulum", "designer": "evolution"}))
    result = run("design", "--file", str(file), "--model", "x")
    assert result.exit_code == USAGE
    assert "`designer` of the request: expected a JSON object" in result.stderr
    assert '"evolution"' in result.stderr


@pytest.mark.parametrize("task", ["my_package:PointPark-v0", "cartpole-park"])
@pytest.mark.parametrize("form", ["text", "file"])
def test_success_is_measured_as_the_command_line_says(run, tmp_path, task, form):
    fitness = json.dumps({"kind": "return", "goal": 7.5})
    if form == "file":
        (tmp_path / "fitness.json").write_text(fitness)
        fitness = "fitness.json"
    result = run("design", task, "Park it.", "--fitness", fitness, "--json")
    asked = lines(result)[0]["spec"]["task"]
    assert (asked["name"], asked["description"]) == (task, "Park it.")
    assert (asked["fitness"]["kind"], asked["fitness"]["goal"]) == ("return", 7.5)
    assert bool(asked["fields"]) is (task == "cartpole-park")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["design", "cartpole", "--fitness", "{"], "--fitness", id="half a fitness"),
        pytest.param(["design"], "no task", id="nothing to design"),
        pytest.param(["design", "cartpole-prak"], "Did you mean", id="a misspelt task"),
        pytest.param(["design", "Ant-v5"], "description", id="an environment without words"),
        pytest.param(["design", "cartpole", "--iterations", "99"], "/iterations", id="too much"),
        pytest.param(["design", "--file", "none.json"], "none.json", id="a file that is not there"),
        pytest.param(["jobs", "show", "job_x"], "no job", id="an unknown job"),
        pytest.param(["best", "job_x"], "no job", id="the best of an unknown job"),
        pytest.param(["jobs", "fly"], "fly", id="an unknown command"),
        pytest.param(["design", "cartpole", "--seeds", "two"], "seeds", id="a number in words"),
        pytest.param(
            ["design", "cartpole", "--webhook", "http://127.0.0.1/x"],
            "REWARDSMITH_WEBHOOK_HOSTS",
            id="a webhook into our own network",
        ),
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


def test_one_training_is_told_without_an_interval(run, store):
    outcome = replace(an_outcome(), fitness_alone=Interval(0.5, 0.5, 0.5, 1))
    told = run("jobs", "watch", stories.a_finished_job(store, outcome)).stdout
    assert "fitness alone 0.5  from 1 fresh seed; one training has no interval" in told


def test_what_was_asked_for_beside_the_design_is_told_as_well(run, store):
    interval = Interval(0.5, 0.4, 0.6, 5)
    outcome = replace(
        an_outcome(),
        fitness_alone=interval,
        normalised=1.75,
        ablation=(
            Ablated("component", "near", interval, -0.33, "worse"),
            Ablated("feature", "energy", interval, 0.01, "equal"),
        ),
        transfer={
            **{"library": "sb3", "algorithm": "PPO", "steps": 9_000, "verdict": "better"},
            **{"native": asdict(interval), "designed": asdict(interval)},
        },
    )
    told = run("jobs", "watch", stories.a_finished_job(store, outcome)).stdout
    assert "fitness alone 0.5  95 % interval [0.4, 0.6] over 5 fresh seeds" in told
    assert "Normalised score 1.75" in told
    assert "component near: fitness 0.5 (-0.33), it is worse without" in told
    assert "With PPO of sb3, 9,000 steps a run: better" in told
    assert "feature energy: fitness 0.5 (+0.01), no difference that these seeds show" in told


def test_the_last_line_of_json_is_the_result(run, store, tmp_path):
    job_id = stories.a_finished_job(store)
    last = lines(run("jobs", "watch", job_id, "-o", "best.py", "--json"))[-1]
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
        "reward_file": str(tmp_path / "best.py"),
    }
    assert seconds >= 0


def test_watching_a_job_that_had_finished_writes_no_file_unasked(run, store, tmp_path):
    job_id = stories.a_finished_job(store)
    result = run("jobs", "watch", job_id)
    assert result.exit_code == OK
    assert f"rewardsmith best {job_id} -o" in result.stdout
    assert list(tmp_path.glob("*.py")) == []


def test_a_failed_job_is_told_with_its_reason_and_no_foreign_advice(run, store):
    result = run("jobs", "watch", stories.a_failed_job(store))
    assert result.exit_code == FAILED
    assert "no such environment" in result.stdout
    assert "where the workers run" not in result.stdout


def test_a_job_that_paused_itself_is_watched_no_longer(run, store):
    job_id = stories.a_blocked_job(store)
    result = run("jobs", "watch", job_id)
    assert result.exit_code == FAILED
    assert result.stdout.count("The key was refused.") == 2  # when it happened, and at the end
    assert f"rewardsmith jobs resume {job_id}" in result.stdout


def test_a_job_that_was_mended_and_paused_again_is_not_told_with_the_old_reason(run, store):
    job_id = stories.a_blocked_job(store)
    store.resume(job_id)
    store.request_pause(job_id)
    assert run("jobs", "watch", job_id).stdout.count("The key was refused.") == 1


def test_a_job_that_nobody_takes_is_said_to_wait_for_a_worker(run, store, monkeypatch):
    monkeypatch.setattr("api.events.PATIENCE_SECONDS", 0.1)
    job_id = stories.a_new_job(store)
    say = Screen.say

    def say_and_cancel(screen: Screen, words: str = "") -> None:
        if "waiting for a worker" in words:  # so that its watcher comes to an end
            store.request_cancel(job_id)
        say(screen, words)

    assert "waiting for a worker" in run("jobs", "show", job_id).stdout
    monkeypatch.setattr(Screen, "say", say_and_cancel)
    assert "waiting for a worker" in run("jobs", "watch", job_id).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["best", "job_x"], id="best"),
        pytest.param(["jobs", "watch", "job_x"], id="watch"),
        pytest.param(["design", "cartpole", "--watch"], id="design"),
    ],
)
@pytest.mark.parametrize("place", ["nowhere/x.py", "."], ids=["no folder", "a folder"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_else(
    run, store, arguments, place
):
    result = run(*arguments, "-o", place)
    assert result.exit_code == USAGE
    assert "expected a file in a folder" in result.stderr
    assert store.unfinished_jobs() == ()


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


HOOK = "https://hooks.test/x"


@pytest.fixture
def not_followed(monkeypatch):
    """Let `--watch` end where the watching would begin."""
    monkeypatch.setattr(design, "follow", lambda *_: OK)


def test_the_only_time_that_a_webhooks_secret_is_shown_is_told_to_programs_that_watch(
    run, not_followed
):
    told = lines(run("design", "cartpole", "--webhook", HOOK, "--watch", "--json"))
    assert told[0]["webhook"]["url"] == HOOK
    assert told[0]["webhook"]["secret"].startswith("whsec_")


@pytest.mark.parametrize("watch", [[], ["--watch"]], ids=["submitted", "watched"])
def test_a_webhook_of_the_file_tells_its_secret_as_one_of_the_options_does(
    run, not_followed, tmp_path, watch
):
    (tmp_path / "body.json").write_text(json.dumps({"task": "cartpole", "webhook": {"url": HOOK}}))
    assert "whsec_" in run("design", "--file", "body.json", *watch).stdout


def test_a_secret_that_the_file_brings_is_not_written_to_the_terminal(run, not_followed, tmp_path):
    webhook = {"url": HOOK, "secret": "whsec_" + "A" * 44}
    (tmp_path / "body.json").write_text(json.dumps({"task": "cartpole", "webhook": webhook}))
    result = run("design", "--file", "body.json")
    assert result.exit_code == OK, result.stderr
    assert "whsec_" not in result.stdout


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
    assert "cancel is possible while" in result.stderr


def test_a_paused_job_is_not_said_to_be_asked_for_a_pause(run, store):
    job_id = stories.a_new_job(store)
    assert "asked for" not in run("jobs", "pause", job_id).stdout
    claimed = stories.a_job_in_training(store)
    claim = stories.while_training(store, claimed)
    assert "asked for  pause" in run("jobs", "pause", claimed).stdout
    claim.release()


def test_a_step_that_rests_is_shown_with_its_reason(run, store):
    job_id = stories.a_job_in_training(store)
    with stories.step(store, job_id, "train/0/0/0") as claim:
        claim.wait(60.0, "The endpoint asks for patience.")
    shown = run("jobs", "show", job_id).stdout
    assert "waiting    train/0/0/0: The endpoint asks for patience." in shown


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


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        pytest.param({}, "http://127.0.0.1:8700", id="nothing is set"),
        pytest.param({"HOST": "10.0.0.7", "PORT": "9"}, "http://10.0.0.7:9", id="host and port"),
        pytest.param({"HOST": "0.0.0.0"}, "http://127.0.0.1:8700", id="every address"),
        pytest.param({"HOST": "::1", "PORT": "0"}, "http://[::1]:8700", id="IPv6, any port"),
        pytest.param({"URL": "https://a/", "PORT": "9"}, "https://a", id="the address"),
    ],
)
def test_the_server_is_looked_for_where_the_environment_says(monkeypatch, environment, url):
    for name in ("HOST", "PORT", "URL"):
        monkeypatch.delenv(f"REWARDSMITH_API_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(f"REWARDSMITH_API_{name}", value)
    assert transport.usual_url() == url


def test_a_port_in_words_is_unreachable(monkeypatch):
    monkeypatch.delenv("REWARDSMITH_API_URL", raising=False)
    monkeypatch.setenv("REWARDSMITH_API_PORT", "many")
    assert CliRunner().invoke(command, ["tasks"]).exit_code == UNREACHABLE


# --- this machine -----------------------------------------------------------------------------


@pytest.mark.parametrize("alphabet", ["latin-1", "cp437"])
def test_a_terminal_with_another_alphabet_is_told_what_it_can_show(server, store, alphabet):
    job_id = stories.a_new_job(store, name="gr\u00f6\u00dfer \u2603")

    def said(*arguments: str) -> bytes:
        line = [sys.executable, "-m", "client.cli", "jobs", *arguments]
        own = {**os.environ, "REWARDSMITH_API_URL": server, "PYTHONIOENCODING": alphabet}
        done = subprocess.run(line, env=own, capture_output=True, check=False)
        assert done.returncode == OK, done.stderr.decode()
        return done.stdout

    assert f"{job_id}  queued" in said("ls").decode(alphabet)
    shown = json.loads(said("show", job_id, "--json").decode(alphabet))
    assert shown["name"] == "gr\u00f6\u00dfer \u2603"


def test_the_best_reward_in_a_pipe_is_the_file_whatever_the_alphabet(server, store):
    job_id = stories.a_finished_job(store)
    line = [sys.executable, "-m", "client.cli", "best", job_id]
    own = {**os.environ, "REWARDSMITH_API_URL": server, "PYTHONIOENCODING": "utf-16"}
    done = subprocess.run(line, env=own, capture_output=True, check=True)
    with Client(server) as client:
        assert done.stdout.decode() == client.jobs.get(job_id).best.source()


def test_the_command_tells_its_version():
    told = CliRunner().invoke(command, ["--version"])
    assert (told.exit_code, told.stdout) == (OK, f"rewardsmith {version('rewardsmith')}\n")


def test_a_queue_that_is_none_is_refused_with_those_that_are(tmp_path, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_HOME", str(tmp_path / "home"))
    result = CliRunner().invoke(command, ["serve", "--queues", "design,foo", "--port", "0"])
    assert result.exit_code == USAGE
    assert "some of the queues design, train" in result.stderr
    assert "but found foo" in result.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("known", [True, False], ids=["the usual address", "another"])
def test_a_server_says_how_to_find_it_where_it_is_not_looked_for(monkeypatch, capsys, known):
    with closing(socket.create_server(("127.0.0.1", 0))) as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("REWARDSMITH_API_URL", url if known else "http://127.0.0.1:1")
        announce(bound, 0, Settings(), Screen())
        announce(bound, 0, Settings(), Screen(json=True))
    export = [] if known else [f"export REWARDSMITH_API_URL={url}"]
    told = capsys.readouterr().out.splitlines()
    assert told[:-1] == [f"listening on {url}", *export]
    assert json.loads(told[-1])["listening"] == url


def test_the_doctor_does_not_upgrade_a_database_of_a_newer_program(tmp_path, migrated_sqlite):
    file = shutil.copy(migrated_sqlite, tmp_path / "rewardsmith.db")
    settings = Settings(home=tmp_path, database_url=f"sqlite:///{file}")
    assert database(settings).ok
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    found = database(settings)
    assert not found.ok
    assert "newer version" in found.fix
    assert "upgrade" not in found.fix


def test_the_doctor_says_whether_somebody_could_open_the_door(tmp_path, database_url, store):
    def found(**given):
        return keys(Settings(home=tmp_path, database_url=database_url, **given))

    assert "none needed" in found().found
    for given in ({"keys": "always"}, {"api_host": "0.0.0.0"}):
        assert (found(**given).ok, found(**given).fix) == (
            False,
            "Make one with `rewardsmith keys create OWNER`.",
        )
    store.keys.create("alice")
    assert found(api_host="0.0.0.0").ok


def test_the_doctor_looks_at_the_artifact_folder_and_the_room_in_it(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path, artifacts_path=tmp_path / "artifacts")
    assert artifact_folder(settings).ok
    monkeypatch.setattr("client.checkup.LEAST_FREE_BYTES", 1 << 80)
    assert "REWARDSMITH_ARTIFACTS_PATH" in artifact_folder(settings).fix
    (tmp_path / "file").touch()
    blocked = Settings(home=tmp_path, artifacts_path=tmp_path / "file" / "artifacts")
    assert not artifact_folder(blocked).ok


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


# --- taking part ------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path) -> str:
    """A program of the user's, as a file."""
    (tmp_path / "mine.py").write_text(SOURCE.replace("Stay near", "My own: stay near"))
    return "mine.py"


def test_words_thumbs_and_preferences_are_kept(run, store):
    job_id = stories.a_job_in_training(store)
    assert "Remark 0 is kept" in run("feedback", job_id, "slower, please").stdout
    run("feedback", job_id, "-c", "0.0", "--thumb", "down")
    said = lines(run("feedback", job_id, "it limps", "-c", "0.0", "--json"))[0]
    assert (said["kind"], said["number"]) == ("text", 2)
    assert [(r.kind, r.value) for r in store.remarks(job_id)] == [
        ("text", 0),
        ("thumb", -1),
        ("text", 0),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "words, --thumb or --over"),
        (["--thumb", "up"], "--candidate with a thumb"),
        (["-c", "0.0", "--thumb", "sideways"], "up or down"),
        (["-c", "0.0", "--thumb", "up", "--over", "0.1"], "either --thumb or --over"),
        (["-c", "0.0", "--over", "0.7"], "no candidate 0.7"),
    ],
)
def test_a_judgement_that_cannot_be_meant_is_usage(run, store, arguments, words):
    result = run("feedback", stories.a_job_in_training(store), *arguments)
    assert result.exit_code == USAGE
    assert words in result.stderr


def test_a_program_is_handed_in(run, store, mine):
    job_id = stories.a_job_in_training(store)
    result = run("give", job_id, mine, "--parent", "0.0", "--note", "wider")
    assert (result.exit_code, store.given(job_id)[0].note) == (OK, "wider")
    missing = run("give", job_id, "none.py")
    assert (missing.exit_code, "none.py" in missing.stderr) == (USAGE, True)


def test_a_design_starts_from_a_program(run, store, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def reward(obs, action, next_obs, params):\n    return {'x': -next_obs.cart_position}\n"
    )
    job = lines(run("design", "cartpole-park", "--start", "mine.py", "--json"))[0]
    assert [(g.origin, g.note) for g in store.given(job["id"])] == [("user", "mine.py")]


def test_jobs_are_extended_forked_and_retried(run, store, mine):
    done = stories.a_finished_job(store)
    forked = lines(run("fork", done, "--method", "eureka", "--name", "again", "--json"))[0]
    assert (forked["name"], forked["spec"]["method"]) == ("again", "eureka")
    result = run("extend", done, "--iterations", "1", "--start", mine)
    assert result.exit_code == OK
    assert "queued" in result.stdout
    assert len(store.given(done)) == 1
    assert run("retry", stories.a_failed_job(store)).exit_code == OK
    refused = run("retry", done)
    assert (refused.exit_code, "retry is possible" in refused.stderr) == (USAGE, True)


def test_finished_designs_are_listed(run, store):
    assert "No finished design fits." in run("library", "pole").stdout
    done = stories.a_finished_job(store)
    assert done in run("library", "park the point").stdout
    assert lines(run("library", "--json"))[0]["data"][0]["job"] == done


def test_learner_network_and_environment_are_the_users(run, tmp_path):
    (tmp_path / "learner.json").write_text(json.dumps({"hidden": [32], "gamma": 0.9}))
    options = ["--settings", "learner.json", "--env-kwargs", '{"sutton_barto_reward": true}']
    spec = lines(run("design", "cartpole", *options, "--json"))[0]["spec"]
    assert spec["training"]["settings"] == {"hidden": [32], "gamma": 0.9}
    assert spec["task"]["env_kwargs"] == {"sutton_barto_reward": True}
    assert spec["task"]["fields"]
    wrong = run("design", "cartpole", "--env-kwargs", "[1]")
    assert (wrong.exit_code, "--env-kwargs" in wrong.stderr or "[1]" in wrong.stderr) == (
        USAGE,
        True,
    )
