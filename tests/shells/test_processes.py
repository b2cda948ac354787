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

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
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
