"""Every command there is: `--json`, and the exit codes that the documentation names.

0 done, 1 the job or a check failed, 2 refused, 3 no server answers, 130 interrupted.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from api.exports import _lines
from client import cli, transport
from client.console import FAILED, INTERRUPTED, OK, UNREACHABLE, USAGE
from client.transport import Transport
from core.storage import Store
from tests.builders import SOURCE
from tests.databases import emptied
from tests.shells import stories

TREE = get_command(cli.app)
DOCUMENTED = Path(__file__).parents[2] / "docs" / "terminal.md"


def leaves(command=TREE, path: tuple[str, ...] = ()) -> dict[str, object]:
    """Every command that does something, by the words with which it is called."""
    inner = getattr(command, "commands", None)
    if not inner:
        return {" ".join(path): command}
    return {k: v for name, one in inner.items() for k, v in leaves(one, (*path, name)).items()}


@dataclass(frozen=True)
class World:
    """What a command may work on."""

    store: Store
    folder: Path

    def finished(self) -> str:
        return stories.a_finished_job(self.store)

    def training(self) -> str:
        return stories.a_job_in_training(self.store)

    def failed(self) -> str:
        return stories.a_failed_job(self.store)

    def paused(self) -> str:
        job_id = stories.a_new_job(self.store)
        self.store.request_pause(job_id)
        return job_id

    def program(self) -> str:
        file = self.folder / "mine.py"
        file.write_text(SOURCE.replace("Stay near", "Mine: stay near"))
        return str(file)

    def two(self) -> list[str]:
        job_id = self.finished()
        return [stored.id for stored in self.store.candidates(job_id).items]

    def exported(self) -> str:
        (self.folder / "job.jsonl").write_text("".join(_lines(self.store, self._job())))
        return str(self.folder / "job.jsonl")

    def _job(self):
        return self.store.job(self.finished())

    def key(self) -> str:
        return self.store.keys.create("alice")[0].id


Arguments = Callable[[World], list[str]]

# A call of each command that speaks with a server, and that succeeds.
SPEAKS: dict[str, Arguments] = {
    "design": lambda w: ["cartpole-park"],
    "jobs ls": lambda w: [],
    "jobs show": lambda w: [w.finished()],
    "jobs watch": lambda w: [w.finished()],
    "jobs cancel": lambda w: [w.training()],
    "jobs pause": lambda w: [w.training()],
    "jobs resume": lambda w: [w.paused()],
    "jobs rm": lambda w: [w.finished()],
    "cancel": lambda w: [w.training()],
    "best": lambda w: [w.finished()],
    "feedback": lambda w: [w.training(), "slower"],
    "give": lambda w: [w.training(), w.program()],
    "extend": lambda w: [w.finished(), "--iterations", "1"],
    "retry": lambda w: [w.failed()],
    "fork": lambda w: [w.finished()],
    "library": lambda w: [],
    "candidates": lambda w: [w.finished()],
    "compare": lambda w: w.two(),
    "export": lambda w: [w.finished(), "--to", "csv"],
    "import": lambda w: [w.exported()],
    "tasks": lambda w: [],
    "methods": lambda w: [],
}

# The same of those that work on this machine.
LOCAL: dict[str, Arguments] = {
    "db upgrade": lambda w: [],
    "db backup": lambda w: [str(w.folder / "copy.db")],
    "tidy": lambda w: [],
    "keys create": lambda w: ["alice"],
    "keys list": lambda w: [],
    "keys revoke": lambda w: [w.key()],
    "audit": lambda w: [],
}

# Those whose success another test waits for.
ELSEWHERE = {
    "serve": "stays (test_serve)",
    "worker": "stays (test_worker)",
    "ui": "stays (test_ui)",
    "demo": "takes minutes (test_whole_jobs)",
    "db roles": "needs PostgreSQL (test_roles)",
    "env check": "starts a sandbox (test_env_check)",
    "doctor": "starts a sandbox and tells of the machine that it is on (below)",
}


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture
def world(store, tmp_path) -> World:
    return World(store, tmp_path)


@pytest.fixture
def call(settings, monkeypatch, tmp_path):
    """Call a command of the tree on the test's own database, in an empty folder."""
    monkeypatch.setenv("REWARDSMITH_HOME", str(settings.home))
    monkeypatch.setenv("REWARDSMITH_DATABASE_URL", settings.database_url)
    monkeypatch.setattr("typer.testing._get_command", lambda _: TREE)
    monkeypatch.chdir(tmp_path)

    def invoke(name: str, *arguments: str):
        return CliRunner().invoke(cli.app, [*name.split(), *arguments])

    return invoke


def test_the_lists_above_are_complete():
    named = [*SPEAKS, *LOCAL, *ELSEWHERE]
    assert sorted(named) == sorted(leaves())


@pytest.mark.parametrize("name", leaves())
def test_every_command_answers_in_json_if_asked(name):
    options = {option for one in leaves()[name].params for option in one.opts}
    assert "--json" in options


@pytest.mark.parametrize("name", SPEAKS)
def test_done_is_0_and_nothing_but_json_is_said(name, call, world, server, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_API_URL", server)
    result = call(name, *SPEAKS[name](world), "--json")
    assert (result.exit_code, result.stderr) == (OK, "")
    assert [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("name", LOCAL)
def test_done_on_this_machine_is_0_too(name, call, world):
    result = call(name, *LOCAL[name](world), "--json")
    assert (result.exit_code, result.stderr) == (OK, "")
    assert [json.loads(line) for line in result.stdout.splitlines()]


def test_a_job_that_failed_is_1(call, world, server, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_API_URL", server)
    assert call("jobs watch", world.failed()).exit_code == FAILED


def test_a_check_that_failed_is_1(call, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_API_PORT", "many")
    result = call("doctor", "--json")
    assert result.exit_code == FAILED
    told = json.loads(result.stdout)
    assert not told["ok"]
    assert all(check["fix"] for check in told["checks"] if not check["ok"])


@pytest.mark.parametrize("name", leaves())
def test_a_call_that_cannot_be_meant_is_2(name, call):
    result = call(name, "--no-such-option")
    assert result.exit_code == USAGE
    assert result.stdout == ""
    assert "--no-such-option" in result.stderr


@pytest.mark.parametrize("name", SPEAKS)
def test_where_nobody_answers_it_is_3(name, call, world, monkeypatch):
    monkeypatch.setattr(transport, "PAUSE_SECONDS", 0.001)
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("REWARDSMITH_API_URL", f"http://127.0.0.1:{port}")
    result = call(name, *SPEAKS[name](world), "--json")
    assert result.exit_code == UNREACHABLE
    assert result.stdout == ""
    assert "no server answers" in json.loads(result.stderr)["error"]["detail"]


@pytest.mark.parametrize("name", [*SPEAKS, *LOCAL])
def test_interrupted_is_130(name, call, world, monkeypatch):
    """Ctrl-C where a command waits: for its server, or for its own machine."""
    arguments = {**SPEAKS, **LOCAL}[name](world)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Transport, "answer", interrupted)
    monkeypatch.setattr("core.settings.read_settings", interrupted)
    assert call(name, *arguments).exit_code == INTERRUPTED


def test_the_codes_are_told_where_people_look():
    told = CliRunner().invoke(cli.app, ["--help"]).stdout
    for code in (OK, FAILED, USAGE, UNREACHABLE, INTERRUPTED):
        assert str(code) in told
        assert f"| {code} |" in DOCUMENTED.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", leaves())
def test_every_command_is_documented(name):
    assert f"rewardsmith {name}" in DOCUMENTED.read_text(encoding="utf-8")


def test_a_shell_can_complete_names_of_commands():
    asked = {
        "_REWARDSMITH_COMPLETE": "complete_bash",
        "COMP_WORDS": "rewardsmith jo",
        "COMP_CWORD": "1",
    }
    assert CliRunner().invoke(cli.app, [], env=asked).stdout.split() == ["jobs"]
