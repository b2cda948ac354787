"""Child processes that are told to end, and those that do not."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from client.commands.serve import explained
from client.console import Screen
from client.processes import stop_all
from tests.stack import eventually

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""
PARENT = """
import os, subprocess, sys
from client.processes import child_environment
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], env=child_environment(os.environ))
"""
# Told to end, it does so when the test lets it.
CHILD = """
import pathlib, signal, sys, threading
from client import processes
told, let, ended = (pathlib.Path(sys.argv[1], name) for name in ("told", "let", "ended"))
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
processes.ORPHAN_GRACE_SECONDS = 0.0
processes.end_with_parent(stop_seconds=60.0)
asked.wait()
told.touch()
while not let.exists():
    threading.Event().wait(0.01)
ended.touch()
"""
PATIENT = "import signal; print('ready', flush=True); signal.pause()"


def started(program: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    with process.stdout as said:
        assert said.readline() == b"ready\n"
    return process


def test_what_does_not_end_within_the_time_is_killed():
    stubborn, patient = started(STUBBORN), started(PATIENT)
    stop_all([stubborn, patient], seconds=0.2)
    assert stubborn.returncode == -signal.SIGKILL
    assert patient.returncode == -signal.SIGTERM


def test_who_is_interrupted_meanwhile_leaves_nothing_behind(monkeypatch):
    stubborn = started(STUBBORN)
    waited = threading.Event()

    def interrupted(seconds):
        waited.set()
        raise KeyboardInterrupt

    wait, kill = stubborn.wait, stubborn.kill

    def killed():
        kill()
        monkeypatch.setattr(stubborn, "wait", wait)

    monkeypatch.setattr(stubborn, "wait", interrupted)
    monkeypatch.setattr(stubborn, "kill", killed)
    with pytest.raises(KeyboardInterrupt):
        stop_all([stubborn], seconds=60)
    assert waited.is_set()
    assert stubborn.returncode == -signal.SIGKILL


def test_a_stop_that_takes_long_is_explained(monkeypatch, capsys):
    monkeypatch.setattr("client.commands.serve.EXPLAIN_SECONDS", 0.0)
    told = threading.Event()
    screen = Screen(False)
    complain = screen.complain

    def heard(text):
        complain(text)
        told.set()

    monkeypatch.setattr(type(screen), "complain", lambda self, text: heard(text))
    with explained("Waiting for the workers.", screen):
        assert told.wait(30)
    assert "Waiting for the workers." in capsys.readouterr().err


def test_a_child_whose_parent_died_has_the_time_to_end_that_it_always_has(tmp_path):
    parent = [sys.executable, "-c", PARENT, CHILD, str(tmp_path)]
    subprocess.run(parent, timeout=60, check=True)
    eventually((tmp_path / "told").exists, 30, "it is told to end")
    (tmp_path / "let").touch()
    eventually((tmp_path / "ended").exists, 30, "it ends by itself")
