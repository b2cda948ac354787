"""Files that a user saves: whole or not there, and nothing else is put out of its place."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client import Client
from client.cli import app as command
from client.console import USAGE
from tests.databases import emptied
from tests.shells import stories


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture
def job(server, store):
    with Client(server) as client:
        yield client.jobs.get(stories.a_finished_job(store))


WAYS = {
    "the reward": lambda job, path: job.best.save(path),
    "a bundle": lambda job, path: job.best.save_bundle(path),
    "the history": lambda job, path: job.save_history(path),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_link_goes_on_leading_to_the_file_that_is_saved(job, tmp_path, way):
    real, link = tmp_path / "kept" / "real", tmp_path / "link"
    real.parent.mkdir()
    real.write_text("old")
    link.symlink_to(real)
    assert WAYS[way](job, link) == link
    assert link.is_symlink()
    assert len(real.read_bytes()) > len("old")
    assert sorted(tmp_path.rglob("*")) == [real.parent, real, link]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_file_is_written_to_and_stays_what_it_is(job, tmp_path, way):
    pipe, heard = tmp_path / "pipe", []
    os.mkfifo(pipe)
    listener = threading.Thread(target=lambda: heard.append(pipe.read_bytes()), daemon=True)
    listener.start()
    WAYS[way](job, pipe)
    assert pipe.is_fifo()
    listener.join(10)
    assert len(heard[0]) > 100


def test_a_reward_that_cannot_be_written_whole_leaves_the_old_one(job, tmp_path, monkeypatch):
    file = tmp_path / "reward.py"
    file.write_text("the old one")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        job.best.save(file)
    assert file.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("form", ["csv", "tensorboard"])
def test_a_folder_that_cannot_be_made_is_usage(job, server, tmp_path, monkeypatch, form):
    monkeypatch.setenv("REWARDSMITH_API_URL", server)
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "folder")
    result = CliRunner().invoke(command, ["export", job.id, "--to", form, "-o", place])
    assert result.exit_code == USAGE
    assert "expected a place that can be written" in result.stderr
