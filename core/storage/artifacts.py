"""Artifacts in a local folder: bytes under their sha256.

    ab/cd/abcd…   256 × 256 folders, so that none grows too long

A file appears under its name only when it is complete and on disk; what is read is checked.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256 as hash_of
from pathlib import Path

from core.errors import NotFound, StorageFailed
from core.failpoints import failpoint

_NAME = re.compile(r"[0-9a-f]{64}")
UNFINISHED = ".unfinished-"  # prefix of files that are being written


class FolderArtifacts:
    """Implements `core.ports.Artifacts`.  Safe to use from several processes at once."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)

    def put(self, content: bytes) -> str:
        """Store bytes durably and return their sha256.

        Raises:
            StorageFailed: the disk is full or not writable.
        """
        sha256 = hash_of(content).hexdigest()
        path = self._path(sha256)
        try:
            _make_folders(self._folder)
            with self._locked(fcntl.LOCK_SH):
                if _holds(path, content):
                    os.utime(path)  # it is wanted again: `remove` spares it
                else:
                    _make_folders(path.parent)
                    _write(path, content)
        except OSError as error:
            raise StorageFailed(
                f"{error.strerror or error}, while storing {len(content)} bytes",
                where=f"artifacts in {self._folder}",
                hint="Make room on the disk, or choose another REWARDSMITH_HOME.",
            ) from error
        failpoint("artifact.stored")
        return sha256

    def get(self, sha256: str) -> bytes:
        """Return the bytes.

        Raises:
            NotFound: nothing is stored under that hash.
            StorageFailed: it cannot be read, or does not have that hash any more.
        """
        try:
            content = self.locate(sha256).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"There is no artifact {sha256}.") from None
        except OSError as error:
            raise StorageFailed(f"{error.strerror or error}", where=f"artifact {sha256}") from error
        if hash_of(content).hexdigest() != sha256:
            raise StorageFailed(
                "other bytes than were stored",
                where=f"artifact {sha256}",
                hint="The disk or somebody changed the file; restore it from a backup.",
            )
        return content

    def locate(self, sha256: str) -> Path:
        """Return where the bytes are, for whoever passes them on unread.

        Raises:
            NotFound: that is no name of an artifact.
        """
        if not _NAME.fullmatch(sha256):
            raise NotFound("There is no artifact of that name.", hint="Names are sha256 in hex.")
        return self._path(sha256)

    def remove(self, sha256: str, spared_seconds: float) -> bool:
        """Remove a file unless it was stored, or stored again, so recently; tell whether it is gone.

        Raises:
            StorageFailed: the folder cannot be used.
        """
        return self._remove(self._path(sha256), spared_seconds)

    def remove_unfinished(self, spared_seconds: float) -> int:
        """Remove what a `put` that was cut off left, unless it is so young; return how many files.

        Raises:
            StorageFailed: the folder cannot be used.
        """
        left = list(self._folder.glob(f"??/??/{UNFINISHED}*"))
        return sum(self._remove(path, spared_seconds) for path in left)

    def _remove(self, path: Path, spared_seconds: float) -> bool:
        try:
            with self._locked(fcntl.LOCK_EX):
                if time.time() - path.stat().st_mtime < spared_seconds:
                    return False
                path.unlink()
        except FileNotFoundError:
            # A disk that is not mounted has lost nothing, and a folder that was used is never empty.
            return self._folder.exists() and any(self._folder.iterdir())
        except OSError as error:
            where = f"artifact {path.name}"
            raise StorageFailed(f"{error.strerror or error}", where=where) from error
        return True

    def names(self) -> Iterator[str]:
        """Yield the hashes of all files, in no order; those that come or go meanwhile may be missed."""
        for path in self._folder.glob("??/??/*"):
            if _NAME.fullmatch(path.name):
                yield path.name

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Hold the folder's lock: many may store at once, and nobody removes meanwhile."""
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256[2:4] / sha256


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        failpoint("artifact.half")
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    _sync_folder(path.parent)


def _make_folders(folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        _sync_folder(made.parent)


def _sync_folder(folder: Path) -> None:
    # The name in the folder must survive a power cut as well as the bytes.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
