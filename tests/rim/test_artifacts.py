"""Bytes under their hash: durable, checked, and never half there."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256

import pytest

from core.errors import NotFound, StorageFailed
from core.failpoints import VARIABLE
from core.storage import FolderArtifacts
from core.storage.artifacts import UNFINISHED
from tests.rim.storing import at_once


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "artifacts"


@pytest.fixture
def artifacts(folder):
    return FolderArtifacts(folder)


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"weights", bytes(range(256)) * 5000])
def test_what_is_put_is_got_back_under_its_hash(artifacts, content):
    name = artifacts.put(content)
    assert name == sha256(content).hexdigest()
    assert artifacts.get(name) == content


def test_files_lie_in_folders_named_by_their_hash(artifacts, folder):
    name = artifacts.put(b"weights")
    assert _files(folder) == [folder / name[:2] / name[2:4] / name]


def test_the_same_bytes_are_stored_once(artifacts, folder):
    assert artifacts.put(b"weights") == artifacts.put(b"weights")
    assert len(_files(folder)) == 1


def test_many_writers_of_the_same_bytes_do_not_disturb_each_other(folder):
    writers = [lambda: FolderArtifacts(folder).put(b"weights" * 1000)] * 8
    (name,) = set(at_once(writers))
    assert FolderArtifacts(folder).get(name) == b"weights" * 1000
    assert len(_files(folder)) == 1


@pytest.mark.parametrize(
    "name", ["0" * 64, "", "../../etc/passwd", "A" * 64, "0" * 63 + "\n", "\x00"]
)
def test_what_was_never_put_is_not_found(artifacts, name):
    with pytest.raises(NotFound, match="no artifact"):
        artifacts.get(name)


def test_bytes_that_changed_on_disk_are_not_handed_out(artifacts, folder):
    name = artifacts.put(b"weights")
    _files(folder)[0].write_bytes(b"weighty")
    with pytest.raises(StorageFailed, match="other bytes than were stored"):
        artifacts.get(name)


def test_putting_bytes_again_repairs_what_changed_on_disk(artifacts, folder):
    name = artifacts.put(b"weights")
    _files(folder)[0].write_bytes(b"")
    artifacts.put(b"weights")
    assert artifacts.get(name) == b"weights"


def test_a_folder_that_cannot_be_made_is_a_failure_of_the_store(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="REWARDSMITH_HOME"):
        FolderArtifacts(tmp_path / "file" / "artifacts").put(b"weights")


FULL_DISK = """
import resource, signal, sys
from core.errors import StorageFailed
from core.storage import FolderArtifacts

artifacts = FolderArtifacts(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
artifacts.put(b"small")
try:
    artifacts.put(b"large" * 100_000)
except StorageFailed as error:
    sys.exit(str(error))
"""


@pytest.mark.slow
def test_a_full_disk_is_a_failure_of_the_store_and_leaves_nothing_half_written(folder):
    # A limit on the size of files stands for the disk: the write ends early in the same way.
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, folder], capture_output=True, text=True, check=False
    )
    assert "while storing 500000 bytes" in done.stderr
    assert "Make room on the disk" in done.stderr
    assert [path.read_bytes() for path in _files(folder)] == [b"small"]


KILLED = """
import sys
from core.storage import FolderArtifacts

FolderArtifacts(sys.argv[1]).put(b"weights")
"""


@pytest.mark.slow
def test_a_process_that_dies_while_writing_leaves_no_artifact_and_what_it_left_can_go(
    artifacts, folder
):
    dying = {**os.environ, VARIABLE: "artifact.half"}
    done = subprocess.run([sys.executable, "-c", KILLED, folder], env=dying, check=False)
    assert done.returncode == -9
    with pytest.raises(NotFound):
        artifacts.get(sha256(b"weights").hexdigest())
    assert [path.name.startswith(UNFINISHED) for path in _files(folder)] == [True]
    assert artifacts.remove_unfinished(spared_seconds=60.0) == 0, "it may be under way"
    assert artifacts.remove_unfinished(spared_seconds=0.0) == 1
    assert _files(folder) == []
