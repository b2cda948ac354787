"""Failpoints kill where they say, and no command of the product starts with one."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.failpoints import FAILPOINTS, VARIABLE, failpoint
from tests.stack import COMMAND

ROOT = Path(__file__).parents[2]
PASS = "from core.failpoints import failpoint\nfor n in range({n}):\n failpoint('fact.writing')"


def test_a_failpoint_that_is_not_armed_does_nothing():
    failpoint("fact.writing")


def compiled_in():
    """The names of all calls of `failpoint` in the product."""
    for folder in ("core", "workers", "api", "client"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                if called and node.func.id == "failpoint":
                    yield node.args[0].value


def test_the_list_of_failpoints_is_that_of_the_code():
    assert sorted(set(compiled_in())) == sorted(FAILPOINTS)


@pytest.mark.slow  # it starts an interpreter
@pytest.mark.parametrize(("told", "passings"), [("fact.writing", 1), ("fact.writing:3", 3)])
def test_an_armed_failpoint_kills_at_the_passing_that_it_was_told(told, passings):
    environment = {**os.environ, VARIABLE: told}
    for count, code in ((passings - 1, 0), (passings, -signal.SIGKILL)):
        done = subprocess.run(
            [sys.executable, "-c", PASS.format(n=count)], env=environment, cwd=ROOT, check=False
        )
        assert done.returncode == code


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_goes_on_when_it_is_let():
    code = PASS.format(n=3)
    environment = {**os.environ, VARIABLE: "fact.writing:2:stop"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=ROOT)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_no_command_starts_with_an_armed_failpoint(command, tmp_path):
    environment = {**os.environ, VARIABLE: "fact.writing", "REWARDSMITH_HOME": str(tmp_path)}
    done = subprocess.run(
        [*COMMAND, command], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert f"Unset {VARIABLE}" in done.stderr
    assert not list(tmp_path.iterdir())
