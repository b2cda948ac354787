"""Where files may be written, found out before anything is submitted or watched."""

from __future__ import annotations

import os
from pathlib import Path

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


def _refusal(path: Path, found: str) -> InvalidInput:
    return InvalidInput(
        found,
        expected="a file in a folder that is there and can be written",
        where=str(path),
        hint="Make the folder, or choose another place.",
    )
