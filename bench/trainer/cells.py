"""Measurements that survive an interruption: one JSON line each, never measured twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Key: TypeAlias = Mapping[str, Any]


class Cells:
    """A file of lines {"key": {...}, ...}; a line that was cut off counts as not measured."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                found = json.loads(line)
            except json.JSONDecodeError:
                continue
            self._known[_name(found["key"])] = found

    def __contains__(self, key: Key) -> bool:
        return _name(key) in self._known

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._known.values())

    def add(self, key: Key, said: Mapping[str, Any]) -> None:
        """Write a measurement down, on the disk before this returns."""
        line = {"key": dict(key), **said}
        self._known[_name(key)] = line
        text = json.dumps(line, ensure_ascii=False) + "\n"
        with self._path.open("a+b") as file:
            if file.tell() and not _ends_a_line(self._path):
                text = "\n" + text
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def of(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return the measurements whose key has these entries."""
        return [cell for cell in self if all(cell["key"].get(n) == v for n, v in wanted.items())]


def _name(key: Key) -> str:
    return json.dumps(dict(key), sort_keys=True)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
