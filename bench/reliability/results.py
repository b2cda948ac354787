"""The document docs/results/reliability.json: each suite keeps its own part, and the page follows."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from bench.reliability.page import render

Json: TypeAlias = dict[str, Any]

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"


def keep(part: str, found: Json, folder: Path = RESULTS) -> None:
    """Put what a suite found in place of what it had found before, and write the page again.

    Args:
        part:   a key of the document: see `page.PARTS`.
        found:  as its renderer in `page` reads it.
        folder: that holds reliability.json and reliability.md.

    Raises:
        KeyError: the page has no place for such a part.
    """
    with _alone(folder):
        _write(folder, {**_read(folder), part: found})


def keep_line(part: str, name: str, line: Json, folder: Path = RESULTS) -> None:
    """Put one line into a part that has a line for each of several measurements."""
    with _alone(folder):
        document = _read(folder)
        _write(folder, {**document, part: {**document.get(part, {}), name: line}})


def stamp(command: str) -> Json:
    """Return what belongs to every measurement: the command, the day, the code and the machine."""
    return {"command": command, "day": today(), "commit": commit(), "machine": machine()}


def commit() -> str:
    """Name the state of the code; one with changes that are not committed has a mark.

    Results are not code: one suite's do not mark the next one's.
    """
    name = _git("describe", "--always", "--abbrev=12", "--exclude=*")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/results")
    return f"{name}-dirty" if changed else name


def machine() -> str:
    """Name the machine in a few words."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"


def today() -> str:
    """Return the day, in UTC."""
    return datetime.now(UTC).date().isoformat()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _read(folder: Path) -> Json:
    path = folder / "reliability.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _write(folder: Path, document: Mapping[str, Any]) -> None:
    page = render(document)
    _replace(folder / "reliability.json", json.dumps(document, indent=1) + "\n")
    _replace(folder / "reliability.md", page)


def _replace(path: Path, text: str) -> None:
    """Write so that whoever reads, or cuts us off, finds the old text or the new one."""
    half = path.with_suffix(path.suffix + ".part")
    half.write_text(text)
    half.replace(path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one suite at a time read and write: hours of another one's work are in there."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
