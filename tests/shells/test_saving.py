"""Files that a user saves: whole or not there, and nothing else is put out of its place."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client import Client
from client.cli import app as command
from client.console import USAGE
from client.saving import whole_file
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


def test_a_file_that_is_saved_over_keeps_its_mode(tmp_path):
    target = tmp_path / "reward.py"
    target.write_text("old")
    target.chmod(0o600)
    with whole_file(target) as out:
        out.write(b"new")
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o600)


@pytest.mark.parametrize("kind", ["mounted", "in a folder that takes no other"])
def test_a_file_that_cannot_be_replaced_is_written_in_place(tmp_path, monkeypatch, kind):
    target = tmp_path / "reward.py"
    target.write_text("old")
    before = target.stat().st_ino

    def busy(self, _):
        raise OSError(errno.EBUSY, "Device or resource busy")

    if kind == "mounted":
        monkeypatch.setattr(Path, "replace", busy)
    else:
        monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    with whole_file(target) as out:
        out.write(b"new")
    assert (target.read_text(), target.stat().st_ino) == ("new", before)
    assert [path.name for path in tmp_path.iterdir()] == ["reward.py"]
