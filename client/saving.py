"""Where files may be written, found out before anything is submitted or watched, and how they are."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from core.errors import InvalidInput


def check_writable(path: Path | None, *, makes_folders: bool = False) -> None:
    """Make sure that a file can be written there; None is fine.

    Args:
        path:          of the file, which need not exist.
        makes_folders: missing folders above it will be made.

    Raises:
        InvalidInput: its folder is missing or not ours to write, or it is a folder itself.
    """
    if path is None:
        return
    if path.is_dir():
        raise _refusal(path, "a folder")
    folder = path.absolute().parent
    while makes_folders and not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise _refusal(path, f"no folder {folder}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise _refusal(path, "one that may not be written")


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """Open a file to be written; it is there, in place of what was there, once it is whole.

    A link goes on leading to where it led.  What is no file, such as a pipe or a device, is written to
    at once, for putting a file in its place would take it away from everybody; so is a file in a folder
    that takes no other.
    """
    real = target.resolve()
    if target.exists() and not (target.is_file() and os.access(real.parent, os.W_OK)):
        with target.open("wb") as out:
            yield out
        return
    partial = real.with_name(f".{real.name}.part")
    try:
        with partial.open("wb") as out:
            yield out
        _put(partial, real)
    finally:
        partial.unlink(missing_ok=True)


def _put(partial: Path, real: Path) -> None:
    """Put a file in the place of another, whose mode it takes over."""
    if real.exists():
        shutil.copymode(real, partial)
    try:
        partial.replace(real)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # A file that is mounted, as into containers, keeps its place.
        shutil.copyfile(partial, real)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what the system has against writing there into a refusal.

    Raises:
        InvalidInput: says what it has against it.
    """
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            error.strerror or str(error),
            expected="a place that can be written, with room in it",
            where=str(path),
        ) from error


def _refusal(path: Path, found: str) -> InvalidInput:
    return InvalidInput(
        found,
        expected="a file in a folder that is there and can be written",
        where=str(path),
        hint="Make the folder, or choose another place.",
    )
